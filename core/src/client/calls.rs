//! Calls: what is asked, by whom, and what waits for a connection.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::connection::{Pending, Phase};
use super::request::number;
use super::{
    Answer, CallError, CallId, Client, ConnId, Event, Found, IteratorId, LostBecause, Misuse,
    Output, Refused, Request,
};
use crate::ids::{Oid, Tid};
use crate::time::{Instant, Now};
use crate::value::Value;

/// What can wait for a connection.
#[derive(Debug)]
pub(super) enum Wanted {
    Load(Oid, Tid),
    Request(Request),
    NewOid,
}

/// A load or a new oid whose connection is lost is asked for again on the next, since a second answer is
/// as good as the first; but not for ever, because it may be what the server dies of.
const LOSSES_MAX: u8 = 2;

/// Who wants something that may wait for a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) call: CallId,
    /// Since when it waits.
    pub(super) since: Instant,
    /// How many connections were lost since it was asked on the first.
    losses: u8,
}

/// Somebody who waits for a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    asker: Asker,
    wanted: Wanted,
}

/// Oids that this client may give to new objects.
#[derive(Debug, Default)]
pub(super) struct NewOids {
    spare: VecDeque<Oid>,
    waiting: VecDeque<Asker>,
    asked: bool,
}

impl Client {
    /// Asks something; the answer comes with [`Event::Answered`].
    pub fn call(&mut self, now: Now, request: Request) -> CallId {
        let asker = self.new_asker(now);
        self.want(now.instant, asker, Wanted::Request(request));
        asker.call
    }

    /// An oid that nobody has had. If it comes later, with [`Answer::Oid`].
    pub fn new_oid(&mut self, now: Now) -> Found<Oid> {
        if let Some(oid) = self.new_oids.spare.pop_front() {
            return Found::Now(oid);
        }
        let asker = self.new_asker(now);
        if self.is_read_only() {
            self.answer(asker.call, Err(Misuse::ReadOnly.into()));
        } else {
            self.want(now.instant, asker, Wanted::NewOid);
        }
        Found::Later(asker.call)
    }

    /// Tells the server that these iterators are not needed any more.
    pub fn forget_iterators(&mut self, iterators: &[IteratorId]) {
        let Some(connection) = self.ready_connection() else { return };
        let its = iterators.iter().filter(|walk| walk.connection == connection.id);
        let ids: Vec<Value> = its.map(|walk| number(walk.id)).collect();
        if !ids.is_empty() {
            let told = connection.tell("iterator_gc", alloc::vec![Value::List(ids)]);
            told.expect("both encodings carry numbers");
        }
    }

    pub(super) const fn new_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    pub(super) const fn new_asker(&mut self, now: Now) -> Asker {
        Asker { call: self.new_call(), since: now.instant, losses: 0 }
    }

    pub(super) fn answer(&mut self, call: CallId, result: Result<Answer, CallError>) {
        self.outputs.push_back(Output::Event(Event::Answered { call, result }));
    }

    /// Does what is wanted, at once or when there is a connection.
    pub(super) fn want(&mut self, now: Instant, asker: Asker, wanted: Wanted) {
        let call = asker.call;
        if self.is_closed {
            return self.answer(call, Err(CallError::Closed));
        }
        if let Wanted::Request(request) = &wanted
            && request.connection().is_some_and(|id| !self.is_ready(id))
        {
            return self.answer(call, Err(CallError::Lost(LostBecause::BegunElsewhere)));
        }
        if !self.is_connected() {
            if asker.since.after(self.settings.wait_timeout) <= now {
                let error = self.unreachable();
                return self.answer(call, Err(error));
            }
            return self.waiting.push(Waiting { asker, wanted });
        }
        match wanted {
            Wanted::Load(oid, before) => self.send_load(oid, before, Some(asker)),
            Wanted::NewOid => self.ask_new_oid(asker),
            Wanted::Request(Request::LoadBlob(oid, serial)) => {
                self.send_download(oid, serial, call)
            }
            Wanted::Request(request) => {
                let Some(connection) = self.ready_connection() else { return };
                let (method, args) = (request.method(), request.args());
                let asked = connection.try_ask(Pending::Call(call, request), method, args);
                if let Err(unwritable) = asked {
                    self.answer(call, Err(CallError::Unwritable(unwritable)));
                }
            }
        }
    }

    /// Wants something again that was asked on a connection that is lost.
    pub(super) fn want_again(
        &mut self,
        now: Instant,
        asker: Asker,
        wanted: Wanted,
        because: &LostBecause,
    ) {
        let asker = Asker { since: now, losses: asker.losses + 1, ..asker };
        if asker.losses > LOSSES_MAX {
            return self.answer(asker.call, Err(because.into()));
        }
        self.want(now, asker, wanted);
    }

    fn ask_new_oid(&mut self, asker: Asker) {
        if let Some(oid) = self.new_oids.spare.pop_front() {
            return self.answer(asker.call, Ok(Answer::Oid(oid)));
        }
        self.new_oids.waiting.push_back(asker);
        if core::mem::replace(&mut self.new_oids.asked, true) {
            return;
        }
        if let Some(connection) = self.ready_connection() {
            connection.ask(Pending::NewOids, "new_oids", Vec::new());
        }
    }

    /// A batch of new oids has come. Those that are left when it is used up ask for the next.
    pub(super) fn new_oids_came(&mut self, now: Instant, answer: Result<Vec<Oid>, CallError>) {
        self.new_oids.asked = false;
        let waiting = core::mem::take(&mut self.new_oids.waiting);
        match answer {
            Ok(oids) if oids.is_empty() => {
                let error = CallError::Odd { method: "new_oids", problem: "no oids".into() };
                self.new_oids.waiting = waiting;
                self.new_oids_came(now, Err(error));
            }
            Ok(oids) => {
                self.new_oids.spare.extend(oids);
                for asker in waiting {
                    self.want(now, asker, Wanted::NewOid);
                }
            }
            Err(error) => {
                for asker in waiting {
                    self.answer(asker.call, Err(error.clone()));
                }
            }
        }
    }

    /// A question is answered.
    pub(super) fn request_answered(
        &mut self,
        call: CallId,
        request: &Request,
        answer: Result<Value, Refused>,
    ) {
        let Some(connection) = self.chosen else { return };
        let result = answer.map_err(CallError::from).and_then(|value| {
            Answer::read(connection, request, value)
                .map_err(|problem| CallError::Odd { method: request.method(), problem })
        });
        if let Ok(Answer::Info(info)) = &result {
            self.info = Some(info.clone());
        }
        self.answer(call, result);
    }

    /// What was asked on a connection that is lost. Whether it is worth asking again only the caller
    /// knows, but for new oids (and loads).
    pub(super) fn fail_pending(&mut self, now: Instant, pending: Pending, because: &LostBecause) {
        match pending {
            Pending::Call(call, _) => self.answer(call, Err(because.into())),
            Pending::NewOids => {
                self.new_oids.asked = false;
                for asker in core::mem::take(&mut self.new_oids.waiting) {
                    self.want_again(now, asker, Wanted::NewOid, because);
                }
            }
            // The transaction is gone with the connection.
            Pending::Abort(call, _) => self.answer(call, Ok(Answer::Done)),
            // Transactions and downloads are looked after as such.
            Pending::Vote(_)
            | Pending::State(_)
            | Pending::Finish(_)
            | Pending::Download(..)
            | Pending::Register
            | Pending::NewestTid
            | Pending::Changes
            | Pending::Describe => {}
        }
    }

    /// When the first of those who wait has waited for as long as one may.
    pub(super) fn waiting_until(&self) -> Option<Instant> {
        let since = self.waiting.iter().map(|waiting| waiting.asker.since).min()?;
        Some(since.after(self.settings.wait_timeout))
    }

    /// Everything that waits for a connection goes out if there is one, and fails if it has waited for
    /// as long as one may.
    pub(super) fn look_after_waiting(&mut self, now: Instant) {
        for Waiting { asker, wanted } in core::mem::take(&mut self.waiting) {
            self.want(now, asker, wanted);
        }
    }

    pub(super) fn unreachable(&self) -> CallError {
        CallError::Unreachable {
            seconds: self.settings.wait_timeout.as_secs_f64(),
            last: self.last_problem.clone(),
        }
    }

    /// Whether calls go through.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.chosen.is_some_and(|id| self.is_ready(id))
    }

    fn is_ready(&self, id: ConnId) -> bool {
        self.chosen == Some(id)
            && self.connections.get(&id).is_some_and(|it| it.phase == Phase::Ready)
    }
}
