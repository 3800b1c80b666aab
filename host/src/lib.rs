//! What every runtime adapter shares: a storage with its hub, its disk writer and its workers.
