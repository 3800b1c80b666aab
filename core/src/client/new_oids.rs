//! Oids for new objects, which come from the server in batches.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::channel::{Channel, Pending};
use super::context::{Caller, Context};
use super::error::CallError;
use super::reading::Reading;
use super::refused::Refused;
use crate::ids::Oid;
use crate::value::Value;

/// Oids that this client may give to new objects, and the callers who wait for one.
#[derive(Debug, Default)]
pub(super) struct NewOids {
    spare: VecDeque<Oid>,
    callers: VecDeque<Caller<Oid>>,
    is_asked: bool,
}

impl NewOids {
    /// An oid that is here already.
    pub(super) fn take_spare(&mut self) -> Option<Oid> {
        self.spare.pop_front()
    }

    /// Answers at once, or with the next batch.
    pub(super) fn ask(&mut self, cx: &mut Context, channel: &mut Channel, caller: Caller<Oid>) {
        if let Some(oid) = self.spare.pop_front() {
            return cx.answer(caller.call, Ok(oid));
        }
        self.callers.push_back(caller);
        if !core::mem::replace(&mut self.is_asked, true) {
            channel.ask(Pending::NewOids, "new_oids", Vec::new());
        }
    }

    /// A batch has come. Callers who are left when it is used up ask for the next.
    pub(super) fn answered(
        &mut self,
        cx: &mut Context,
        channel: &mut Channel,
        answer: Result<Value, Refused>,
    ) {
        self.is_asked = false;
        let odd = |problem| CallError::Odd { method: "new_oids", problem };
        let oids = answer.map_err(CallError::from);
        let oids = oids.and_then(|it| it.into_list(Reading::into_oid).map_err(odd));
        let oids = oids.and_then(|oids| match &oids[..] {
            [] => Err(odd("no oids".into())),
            _ => Ok(oids),
        });
        let callers = core::mem::take(&mut self.callers);
        match oids {
            Ok(oids) => {
                self.spare.extend(oids);
                for caller in callers {
                    self.ask(cx, channel, caller);
                }
            }
            Err(error) => {
                for caller in callers {
                    cx.answer(caller.call, Err(error.clone()));
                }
            }
        }
    }

    /// The connection is lost: the callers.
    pub(super) fn take_callers(&mut self) -> VecDeque<Caller<Oid>> {
        self.is_asked = false;
        core::mem::take(&mut self.callers)
    }
}
