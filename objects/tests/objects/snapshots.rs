//! Snapshots: what is lacking, what is undone, what is checked.

use bytes::Bytes;
use rzeo_core::{Oid, Tid};
use rzeo_objects::{
    CurrentCheck, Error, Instance, Length, ObjectId, PersistentMapping, PyValue, Reference,
    Snapshot, StateError,
};

use crate::database::Database;

/// A snapshot with the root object and a length.
fn snapshot() -> Snapshot {
    let mut database = Database::new();
    database.run(|snapshot| {
        let length = snapshot.create(&Length::class(), Length::default());
        let length = PyValue::reference(length, &Length::class());
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
            root.insert("length", length);
        })
    });
    let mut snapshot = Snapshot::new(database.tid);
    for (oid, (serial, record)) in database.records {
        snapshot.add_record(oid, serial, record);
    }
    snapshot
}

fn add(snapshot: &mut Snapshot, oid: Oid, delta: i64) -> Result<(), Error> {
    snapshot.modify(oid, |length: &mut Length| length.value += delta)
}

fn length(snapshot: &mut Snapshot) -> i64 {
    snapshot.read::<Length>(Oid(1)).unwrap().value
}

#[test]
fn a_failed_attempt_leaves_nothing() {
    let mut snapshot = snapshot();
    let failed: Result<(), Error> = snapshot.attempt(|snapshot| {
        snapshot.create(&Length::class(), Length::default());
        snapshot.check_current(Oid::ROOT)?;
        add(snapshot, Oid(1), 5)?;
        add(snapshot, Oid(9), 1)
    });
    assert_eq!(failed, Err(Error::NotLoaded(Oid(9))));
    assert_eq!(snapshot.take_lacking(), [Oid(9)]);
    assert!(!snapshot.has_changes() && !snapshot.is_changed(Oid(1)));
    assert_eq!((length(&mut snapshot), snapshot.new_objects()), (0, 0));
    add(&mut snapshot, Oid(1), 1).unwrap();
    let changes = snapshot.changes(&[]).unwrap();
    assert_eq!((changes.stores.len(), changes.checks.len()), (1, 0));
    snapshot.check_current(Oid::ROOT).unwrap();
    assert_eq!(
        snapshot.changes(&[]).unwrap().checks.len(),
        1,
        "it was undone, and asked for again"
    );
}

#[test]
fn an_outer_attempt_undoes_what_inner_ones_did() {
    let mut snapshot = snapshot();
    add(&mut snapshot, Oid(1), 1).unwrap();
    let failed: Result<(), Error> = snapshot.attempt(|snapshot| {
        add(snapshot, Oid(1), 10)?;
        snapshot.attempt(|snapshot| add(snapshot, Oid(1), 100))?;
        assert_eq!(length(snapshot), 111);
        let inner = snapshot.attempt(|snapshot| {
            add(snapshot, Oid(1), 1000)?;
            add(snapshot, Oid(9), 1)
        });
        assert_eq!((inner.is_err(), length(snapshot)), (true, 111));
        snapshot.add_absent(Oid(9));
        add(snapshot, Oid(9), 1)
    });
    assert_eq!(failed, Err(Error::NoSuchObject(Oid(9))));
    assert_eq!(length(&mut snapshot), 1);
}

#[test]
fn changes_of_an_inner_attempt_end_with_the_outer_one() {
    let mut snapshot = snapshot();
    let failed: Result<(), Error> = snapshot.attempt(|snapshot| {
        snapshot.attempt(|snapshot| add(snapshot, Oid(1), 100))?;
        add(snapshot, Oid(9), 1)
    });
    assert!(failed.is_err());
    assert_eq!((length(&mut snapshot), snapshot.is_changed(Oid(1))), (0, false));
}

#[test]
fn objects_whose_creation_was_undone_are_unknown() {
    let mut snapshot = snapshot();
    let mut id = ObjectId::ROOT;
    let failed: Result<(), Error> = snapshot.attempt(|snapshot| {
        id = snapshot.create(&Length::class(), Length::default());
        assert_eq!(snapshot.reference(id)?.as_object(), Some(id));
        snapshot.read::<Length>(Oid(9)).map(|_| ())
    });
    assert_eq!(failed, Err(Error::NotLoaded(Oid(9))));
    assert_eq!(snapshot.read::<Length>(id).unwrap_err(), Error::UnknownNew(id));
    assert_eq!(snapshot.serial(id), Err(Error::UnknownNew(id)));
}

#[test]
fn an_instance_made_with_arguments_is_referred_to_without_its_class() {
    let mut snapshot = Snapshot::new(Tid(1));
    let record = b"\x80\x03cm\nC\nq\0K\x01\x85q\x01\x86q\x02.\x80\x03}q\x03.";
    snapshot.add_record(Oid(3), Tid(1), Bytes::from_static(record));
    let reference = Reference::Strong { id: Oid(3).into(), class: None };
    assert_eq!(snapshot.reference(Oid(3)).unwrap().as_reference(), Some(&reference));
    snapshot.modify(Oid(3), |_: &mut Instance| ()).unwrap();
    assert_eq!(snapshot.changes(&[]).unwrap().stores[0].record, record[..]);
}

#[test]
fn what_is_stored_is_not_checked_as_well() {
    let mut snapshot = snapshot();
    let serial = snapshot.serial(Oid::ROOT).unwrap();
    let new = snapshot.create(&Length::class(), Length::default());
    for id in [ObjectId::ROOT, Oid(1).into(), ObjectId::ROOT, new] {
        snapshot.check_current(id).unwrap();
    }
    add(&mut snapshot, Oid(1), 1).unwrap();
    let checks = snapshot.changes(&[]).unwrap().checks;
    assert_eq!(checks, [CurrentCheck { oid: Oid::ROOT, serial }]);
}

#[test]
fn objects_that_are_wanted_are_loaded_together() {
    let mut snapshot = snapshot();
    snapshot.add_absent(Oid(5));
    assert!(snapshot.want([Oid::ROOT, Oid(5)]));
    assert!(!snapshot.want([Oid(8), Oid(1), Oid(7)]));
    assert!(!snapshot.want([Oid(8)]), "it is noted, but not loaded");
    assert_eq!(snapshot.take_lacking(), [Oid(7), Oid(8)]);
    assert_eq!(snapshot.take_lacking(), []);
}

#[test]
fn a_later_snapshot_keeps_what_was_not_invalidated() {
    let mut snapshot = snapshot();
    snapshot.add_absent(Oid(5));
    add(&mut snapshot, Oid(1), 5).unwrap();
    snapshot.advance(Tid(99), [Oid::ROOT, Oid(5)]);
    assert_eq!((snapshot.tid(), snapshot.has_changes()), (Tid(99), false));
    assert_eq!(length(&mut snapshot), 0);
    assert!(!snapshot.want([Oid::ROOT, Oid(5)]));
}

#[test]
fn dropped_records_are_loaded_again_but_changes_stay() {
    let mut snapshot = snapshot();
    add(&mut snapshot, Oid(1), 5).unwrap();
    snapshot.drop_records(|_| true);
    assert_eq!((length(&mut snapshot), snapshot.oids().collect()), (5, vec![Oid(1)]));
    assert_eq!(snapshot.class(Oid::ROOT), Err(Error::NotLoaded(Oid::ROOT)));
}

#[test]
fn an_object_can_be_read_as_several_types_but_changed_as_one() {
    let mut snapshot = snapshot();
    assert_eq!(snapshot.read::<PyValue>(Oid(1)).unwrap().as_int(), Some(0));
    assert_eq!(length(&mut snapshot), 0);
    assert_eq!(snapshot.read::<PyValue>(Oid(1)).unwrap().as_int(), Some(0));
    add(&mut snapshot, Oid(1), 1).unwrap();
    let Err(Error::State { error: StateError::ChangedAs { .. }, .. }) =
        snapshot.read::<PyValue>(Oid(1))
    else {
        panic!("the state has another type now");
    };
}
