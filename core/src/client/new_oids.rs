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

/// Oids that this client may give to new objects, and the callers that wait for one.
#[derive(Debug, Default)]
pub(super) struct NewOids {
    spare: VecDeque<Oid>,
    callers: VecDeque<Caller<Oid>>,
    is_asked: bool,
}

impl NewOids {
    /// An oid of the last batch, if one is left.
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

    /// A batch has arrived. If callers are left when it is used up, the next one is requested.
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::answer::Answer;
    use super::super::cache::Cache;
    use super::super::output::{Event, Output};
    use super::super::settings::ClientSettings;
    use super::*;
    use crate::time::Instant;

    fn ask(oids: &mut NewOids, cx: &mut Context, channel: &mut Channel) {
        let caller = cx.new_caller();
        oids.ask(cx, channel, caller);
    }

    fn results(cx: &mut Context) -> Vec<Result<Answer, CallError>> {
        let mut results = vec![];
        while let Some(Output::Event(Event::Answered { result, .. })) = cx.take_output() {
            results.push(result);
        }
        results
    }

    #[test]
    fn callers_share_a_batch_and_ask_for_the_next() {
        let mut cx = Context::new(Instant::START, ClientSettings::default(), Cache::new(0));
        let (mut oids, mut channel) = (NewOids::default(), Channel::new(1 << 20));
        for _ in 0..3 {
            ask(&mut oids, &mut cx, &mut channel);
        }
        let asked = channel.backlog();
        let batch =
            |oids: &[u64]| Value::List(oids.iter().map(|oid| Value::oid(Oid(*oid))).collect());
        oids.answered(&mut cx, &mut channel, Ok(batch(&[1, 2])));
        assert_eq!(results(&mut cx), [1, 2].map(|oid| Ok(Answer::Oid(Oid(oid)))));
        assert!(channel.backlog() > asked, "the third caller asks for another batch");
        oids.answered(&mut cx, &mut channel, Ok(batch(&[3, 4])));
        assert_eq!(results(&mut cx), [Ok(Answer::Oid(Oid(3)))]);
        assert_eq!(oids.take_spare(), Some(Oid(4)));
        assert_eq!(oids.take_spare(), None);
    }

    #[test]
    fn a_refusal_fails_all_callers_and_a_lost_connection_returns_them() {
        let mut cx = Context::new(Instant::START, ClientSettings::default(), Cache::new(0));
        let (mut oids, mut channel) = (NewOids::default(), Channel::new(1 << 20));
        ask(&mut oids, &mut cx, &mut channel);
        ask(&mut oids, &mut cx, &mut channel);
        oids.answered(&mut cx, &mut channel, Err(Refused::ReadOnly));
        assert_eq!(results(&mut cx), [(); 2].map(|()| Err(Refused::ReadOnly.into())));
        ask(&mut oids, &mut cx, &mut channel);
        oids.answered(&mut cx, &mut channel, Ok(Value::List(vec![])));
        assert!(matches!(results(&mut cx)[..], [Err(CallError::Odd { .. })]), "an empty batch");
        ask(&mut oids, &mut cx, &mut channel);
        assert_eq!(oids.take_callers().len(), 1);
        assert!(results(&mut cx).is_empty());
    }
}
