//! Transactions: loads, conflicts, and oids that are used again.

use rzeo_core::{Oid, Tid};
use rzeo_objects::{
    Error, Length, PersistentMapping, PyValue, Snapshot, Step, TooManyConflicts, Transaction,
};

use crate::database::Database;

/// Puts a new length into the root object.
fn put(snapshot: &mut Snapshot, key: &str) -> Result<(), Error> {
    let length = snapshot.create(&Length::class(), Length::default());
    let length = PyValue::reference(length, &Length::class());
    snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
        root.insert(key, length);
    })
}

#[test]
fn an_operation_is_repeated_until_it_has_its_records() {
    let mut database = Database::new();
    database.run(|snapshot| put(snapshot, "length"));
    database.loads = 0;
    let mut runs = 0;
    let (value, changes) = database.run(|snapshot| {
        runs += 1;
        let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
        let reference = root.get("length").and_then(PyValue::as_reference).unwrap();
        snapshot.modify(reference.strong().unwrap(), |length: &mut Length| {
            length.value += 1;
            length.value
        })
    });
    assert_eq!((value, runs, database.loads), (1, 3, 2));
    assert_eq!(changes.stores.len(), 1);
}

#[test]
fn a_conflict_repeats_the_operation_with_the_same_oids() {
    let mut database = Database::new();
    let mut transaction =
        Transaction::new(Snapshot::new(database.tid), |snapshot| put(snapshot, "a")).retries(1);
    let Step::Commit(first) = database.drive(&mut transaction) else {
        panic!("it changes the root")
    };
    database.run(|snapshot| {
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
            root.insert("b", 1);
        })
    });
    transaction.conflict(database.tid, [Oid::ROOT]).unwrap();
    let Step::Commit(second) = database.drive(&mut transaction) else {
        panic!("it changes the root")
    };
    assert_eq!(first.new_oids, second.new_oids);
    assert_eq!(second.stores[0].serial, database.tid);
    assert_eq!(
        transaction.conflict(Tid(9), []),
        Err(TooManyConflicts { attempts: 2 }),
        "it has one retry"
    );
}

#[test]
fn an_object_that_others_have_created_is_found_after_the_conflict() {
    let oid = Oid(77);
    let create = |snapshot: &mut Snapshot| match snapshot.read::<PersistentMapping>(oid) {
        Err(Error::NoSuchObject(_)) => {
            snapshot.add(oid, &PersistentMapping::class(), PersistentMapping::new());
            Ok("created")
        }
        other => other.map(|_| "found"),
    };
    let mut database = Database::new();
    let mut transaction = Transaction::new(Snapshot::new(database.tid), create).retries(1);
    assert!(matches!(database.drive(&mut transaction), Step::Commit(_)));
    assert_eq!(database.run(create).0, "created");
    let read: Vec<Oid> = transaction.snapshot().oids().collect();
    transaction.conflict(database.tid, read).unwrap();
    assert!(matches!(database.drive(&mut transaction), Step::Unchanged("found")));
}

#[test]
fn the_result_is_there_after_the_commit() {
    let mut database = Database::new();
    let mut transaction = Transaction::new(Snapshot::new(database.tid), |snapshot| {
        put(snapshot, "a")?;
        Ok::<_, Error>("done")
    });
    let Step::Commit(changes) = database.drive(&mut transaction) else {
        panic!("there are changes")
    };
    database.commit(&changes);
    assert_eq!(transaction.into_result().unwrap().0, "done");
}

#[test]
fn errors_of_the_operation_end_it() {
    #[derive(Debug)]
    enum Failure {
        Object(Error),
        Mine,
    }
    impl From<Error> for Failure {
        fn from(error: Error) -> Self {
            Self::Object(error)
        }
    }
    let mut database = Database::new();
    let mut read = |oid: Oid| {
        let operation = |snapshot: &mut Snapshot| {
            snapshot.read::<PersistentMapping>(oid)?;
            Err::<(), _>(Failure::Mine)
        };
        let mut transaction = Transaction::new(Snapshot::new(database.tid), operation);
        match database.drive(&mut transaction) {
            Step::Failed(failure) => failure,
            step => panic!("{step:?}"),
        }
    };
    assert!(matches!(read(Oid::ROOT), Failure::Mine));
    assert!(matches!(read(Oid(9)), Failure::Object(Error::NoSuchObject(Oid(9)))));
}
