//! An invalidation, encoded once for all connections.
//!
//! The hub makes one value per commit and delivers it to every other connection. The first session
//! that sends it in an encoding writes it; the others send the same bytes. So the hub's lock is not held
//! while a long list is encoded, and a crowd costs one encoding each for msgpack and pickle.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;
use once_cell::race::OnceBox;

use crate::ids::{Oid, Tid};
use crate::value::Value;
use crate::wire::{Codec, Flag, Outgoing, Unwritable};

/// A commit of another client, as connections receive it.
#[derive(Debug)]
pub struct Invalidation {
    /// Tid of the commit.
    pub tid: Tid,
    /// The objects that it changed.
    pub oids: Arc<[Oid]>,
    msgpack: OnceBox<Encoded>,
    pickle: OnceBox<Encoded>,
}

type Encoded = Result<Bytes, Unwritable>;

impl Invalidation {
    /// The objects that a commit changed.
    #[must_use]
    pub const fn new(tid: Tid, oids: Arc<[Oid]>) -> Self {
        Self { tid, oids, msgpack: OnceBox::new(), pickle: OnceBox::new() }
    }

    /// The frame for a peer.
    pub(super) fn frame(&self, codec: Codec) -> &Encoded {
        let encoded = match codec {
            Codec::Msgpack => &self.msgpack,
            Codec::Pickle => &self.pickle,
        };
        encoded.get_or_init(|| Box::new(self.encode(codec)))
    }

    fn encode(&self, codec: Codec) -> Encoded {
        let oids = self.oids.iter().copied().map(Value::oid).collect();
        let args = Value::Tuple(vec![Value::tid(self.tid), Value::List(oids)]);
        let mut out = Outgoing::new();
        codec.write(&mut out, &Value::Int(0), Flag::Oneway, "invalidateTransaction", &args)?;
        Ok(out.take_chunk().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_encoded_once_for_each_codec() {
        let invalidation = Invalidation::new(Tid(1), [Oid(1), Oid(2)].into());
        for codec in [Codec::Msgpack, Codec::Pickle] {
            let first = invalidation.frame(codec).clone().expect("numbers can be written");
            let again = invalidation.frame(codec).clone().expect("numbers can be written");
            assert_eq!(first.as_ptr(), again.as_ptr());
        }
        assert_ne!(invalidation.frame(Codec::Msgpack), invalidation.frame(Codec::Pickle));
    }
}
