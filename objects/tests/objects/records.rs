//! Records as Python 3.11 with ZODB 6.4 has written them for the same operations.

use bytes::Bytes;
use rzeo_core::pickle::Unreadable;
use rzeo_core::{Oid, Tid};
use rzeo_objects::{
    Class, Error, Instance, Length, ObjectId, ObjectState, PersistentList, PersistentMapping,
    PyValue, Reference, Snapshot, StateError, StateWriter, View, WriteError,
};

use crate::database::Database;

const EMPTY: &[u8] = b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\
    \x80\x03}q\x01X\x04\0\0\0dataq\x02}q\x03s.";

/// Values that are shared, that contain themselves, and an instance of an application's class.
const OPAQUE: &[u8] = b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02}q\
    \x03(X\x03\0\0\0mapq\x04C\x08\0\0\0\0\0\0\0\x01q\x05h\0\x86q\x06QX\x04\0\0\0listq\x07C\x08\0\0\0\0\0\0\0\x02\
    q\x08cpersistent.list\nPersistentList\nq\t\x86q\nQX\x04\0\0\0deepq\x0bC\x08\0\0\0\0\0\0\0\x03q\x0ch\0\x86q\
    \x0dQX\x01\0\0\0aq\x0e]q\x0f(X\x06\0\0\0sharedq\x10X\x04\0\0\0textq\x11\x86q\x12h\x12eX\x05\0\0\0plainq\x13cob\
    ject_samples\nPlain\nq\x14)\x81q\x15}q\x16(X\x04\0\0\0nameq\x17X\x02\0\0\0x1q\x18X\x04\0\0\0sizeq\x19h\x12ubX\
    \x04\0\0\0selfq\x1a]q\x1bh\x1baus.";

/// The same after `del root['map']; root['new'] = -1.5`.
const CHANGED: &[u8] = b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02}q\
    \x03(X\x04\0\0\0listq\x04C\x08\0\0\0\0\0\0\0\x02q\x05cpersistent.list\nPersistentList\nq\x06\x86q\x07QX\x04\0\
    \0\0deepq\x08C\x08\0\0\0\0\0\0\0\x03q\th\0\x86q\nQX\x01\0\0\0aq\x0b]q\x0c(X\x06\0\0\0sharedq\x0dX\x04\0\0\0tex\
    tq\x0e\x86q\x0fh\x0feX\x05\0\0\0plainq\x10cobject_samples\nPlain\nq\x11)\x81q\x12}q\x13(X\x04\0\0\0nameq\x14X\
    \x02\0\0\0x1q\x15X\x04\0\0\0sizeq\x16h\x0fubX\x04\0\0\0selfq\x17]q\x18h\x18aX\x03\0\0\0newq\x19G\xbf\xf8\0\0\0\
    \0\0\0us.";

/// Four new objects: oids are given where references are written, and the last one is stored first.
const NEW: [(u64, &[u8]); 5] = [
    (
        0,
        b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02}q\x03(X\x03\0\0\0\
        mapq\x04C\x08\0\0\0\0\0\0\0\x01q\x05h\0\x86q\x06QX\x04\0\0\0listq\x07C\x08\0\0\0\0\0\0\0\x02q\x08cpersist\
        ent.list\nPersistentList\nq\t\x86q\nQX\x04\0\0\0deepq\x0bC\x08\0\0\0\0\0\0\0\x03q\x0ch\0\x86q\x0dQus.",
    ),
    (
        3,
        b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02}q\x03(X\x06\0\0\0\
        lengthq\x04C\x08\0\0\0\0\0\0\0\x04q\x05cBTrees.Length\nLength\nq\x06\x86q\x07QX\x04\0\0\0listq\x08C\x08\0\
        \0\0\0\0\0\0\x02q\tcpersistent.list\nPersistentList\nq\n\x86q\x0bQus.",
    ),
    (4, b"\x80\x03cBTrees.Length\nLength\nq\0.\x80\x03Jp\x11\x01\0."),
    (
        2,
        b"\x80\x03cpersistent.list\nPersistentList\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02]q\x03(C\x08\0\0\0\0\0\0\
        \0\x01q\x04cpersistent.mapping\nPersistentMapping\nq\x05\x86q\x06QC\x08\0\0\0\0\0\0\0\x04q\x07cBTrees.Len\
        gth\nLength\nq\x08\x86q\tQes.",
    ),
    (
        1,
        b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02}q\x03X\x04\0\0\0n\
        ameq\x04X\x05\0\0\0innerq\x05ss.",
    ),
];

#[test]
fn new_objects_are_numbered_and_stored_in_python_s_order() {
    let mut database = Database::new();
    assert_eq!(database.records[&Oid::ROOT].1, EMPTY);
    let mapping = PersistentMapping::class();
    let ((), changes) = database.run(|snapshot| {
        let mut state = PersistentMapping::new();
        state.insert("name", "inner");
        let inner = PyValue::reference(snapshot.create(&mapping, state), &mapping);
        let length = snapshot.create(&Length::class(), Length { value: 70_000 });
        let length = PyValue::reference(length, &Length::class());
        let mut items = PersistentList::new();
        items.extend([inner.clone(), length.clone()]);
        let list = snapshot.create(&PersistentList::class(), items);
        let list = PyValue::reference(list, &PersistentList::class());
        let mut state = PersistentMapping::new();
        state.insert("length", length);
        state.insert("list", list.clone());
        let deep = PyValue::reference(snapshot.create(&mapping, state), &mapping);
        // Nothing refers to it.
        snapshot.create(&mapping, PersistentMapping::new());
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
            root.insert("map", inner.clone());
            root.insert("list", list.clone());
            root.insert("deep", deep.clone());
        })
    });
    let stored = changes.stores.iter().map(|store| (store.oid.0, &store.record[..]));
    assert_eq!(stored.collect::<Vec<_>>(), NEW);
}

#[test]
fn values_that_are_unknown_stay_as_they_were() {
    let mut database = Database::with(Oid::ROOT, OPAQUE);
    let (_, changes) =
        database.run(|snapshot| snapshot.modify(Oid::ROOT, |_: &mut PersistentMapping| ()));
    assert_eq!(changes.stores[0].record, OPAQUE);
    let (_, changes) = database.run(|snapshot| {
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| {
            root.remove("map").unwrap();
            root.insert("new", -1.5);
        })
    });
    assert_eq!(changes.stores[0].record, CHANGED);
}

#[test]
fn values_are_looked_into() {
    let mut database = Database::with(Oid::ROOT, OPAQUE);
    let (root, _) = database.run(|snapshot| snapshot.read::<PersistentMapping>(Oid::ROOT));
    let kinds: Vec<String> = root.iter().map(|(_, value)| format!("{value:?}")).collect();
    assert_eq!(kinds[3..5], [r#"[("shared", "text"), ("shared", "text")]"#, "<object>"]);
    assert!(kinds[5].starts_with("[[[[[") && kinds[5].contains("..."), "{}", kinds[5]);
    let reference = root.get("list").and_then(PyValue::as_reference);
    assert_eq!(reference, Some(&Reference::new(Oid(2), &PersistentList::class())));
    assert!(matches!(root.get("plain").unwrap().view(), View::Object));
    assert_eq!(root.len(), 6);
}

#[test]
fn a_value_that_contains_its_object_s_items_still_does() {
    // root = PersistentMapping(); root['data'] = root.data; root.other = [root.data]
    let record = b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03}q\x01(X\x04\0\0\0dataq\x02}q\x03\
        X\x04\0\0\0selfq\x04h\x03sX\x05\0\0\0otherq\x05]q\x06h\x03au.";
    let mut database = Database::with(Oid::ROOT, &record[..]);
    let (_, changes) = database.run(|snapshot| {
        snapshot.modify(Oid::ROOT, |root: &mut PersistentMapping| root.remove("none"))
    });
    assert_eq!(changes.stores[0].record, record[..]);
}

#[test]
fn a_value_that_contains_its_list_still_does() {
    // items = PersistentList(); items.append([items.data])
    let record = b"\x80\x03cpersistent.list\nPersistentList\nq\0.\x80\x03}q\x01X\x04\0\0\0dataq\x02]q\x03]q\x04\
        h\x03aas.";
    let mut database = Database::with(Oid::ROOT, &record[..]);
    let (_, changes) = database.run(|snapshot| {
        snapshot.modify(Oid::ROOT, |list: &mut PersistentList| {
            let last = list.pop().unwrap();
            list.push(last);
        })
    });
    assert_eq!(changes.stores[0].record, record[..]);
}

#[test]
fn an_object_that_its_arguments_contain_stays_one_object() {
    let whole = |state: &[u8]| [&b"\x80\x03cm\nC\nq\0.\x80\x03"[..], state].concat();
    // items = []; made = R(items, None); items.append(made); state = [R, made, made]
    let record = whole(b"]q\x01(cm\nR\nq\x02]q\x03h\x02h\x03N\x86q\x04Rq\x05a0h\x05h\x05e.");
    let mut database = Database::with(Oid::ROOT, record);
    let mut rewrite = || {
        let (_, changes) =
            database.run(|snapshot| snapshot.modify(Oid::ROOT, |_: &mut PyValue| ()));
        changes.stores[0].record.clone()
    };
    let first = rewrite();
    // What was begun is dropped when the object turns out to be in the memo.
    let state = b"]q\x01(cm\nR\nq\x02h\x02]q\x03h\x02h\x03N\x86q\x04Rq\x05aN00h\x0400h\x05h\x05e.";
    assert_eq!(first, whole(state));
    assert_eq!(rewrite(), first);
}

#[test]
fn values_that_only_the_writer_sees_are_different_ones() {
    /// A state that makes its values when it is written.
    #[derive(Clone, Debug)]
    struct Made;
    impl ObjectState for Made {
        fn read(_class: &Class, _state: &PyValue) -> Result<Self, StateError> {
            Ok(Self)
        }
        fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
            writer.start_tuple(2);
            writer.value(&"first".into())?;
            writer.value(&"other".into())?;
            writer.end_tuple(2);
            Ok(())
        }
    }
    let mut database = Database::with(Oid::ROOT, EMPTY);
    let (_, changes) = database.run(|snapshot| snapshot.write(Oid::ROOT, Made));
    let state = b"\x80\x03X\x05\0\0\0firstq\x01X\x05\0\0\0otherq\x02\x86q\x03.";
    assert!(changes.stores[0].record.ends_with(state));
}

#[test]
fn every_reference_has_a_form() {
    let class = Class::new("m", "C");
    let (id, oid, database) = (ObjectId::Stored(Oid(9)), Oid(9), "other".to_owned());
    let references = [
        Reference::Strong { id, class: None },
        Reference::Strong { id, class: Some(class.clone()) },
        Reference::Weak { id, database: None },
        Reference::Weak { id, database: Some(database.clone()) },
        Reference::Foreign { database: database.clone(), oid, class: None },
        Reference::Foreign { database, oid, class: Some(class.clone()) },
    ];
    let mut database = Database::with(Oid::ROOT, EMPTY);
    let (_, changes) = database.run(|snapshot| {
        let values = references.iter().cloned().map(PyValue::from);
        snapshot.write(Oid::ROOT, PyValue::list(values.collect()))
    });
    // What ZODB's `ObjectWriter` writes for the objects of which persistent_id returns these.
    let python = b"\x80\x03cpersistent.mapping\nPersistentMapping\nq\0.\x80\x03]q\x01(C\x08\0\0\0\0\0\0\0\tq\x02Q\
        h\x02cm\nC\nq\x03\x86q\x04Q]q\x05(X\x01\0\0\0wq\x06h\x02\x85q\x07eQ]q\x08(h\x06h\x02X\x05\0\0\0otherq\t\
        \x86q\neQ]q\x0b(X\x01\0\0\0nq\x0ch\th\x02\x86q\x0deQ]q\x0e(X\x01\0\0\0mq\x0fh\th\x02h\x03\x87q\x10eQe.";
    assert_eq!(changes.stores[0].record, python[..]);
    let (state, _) = database.run(|snapshot| snapshot.read::<PyValue>(Oid::ROOT));
    let View::List(items) = state.view() else { panic!("{state:?}") };
    let read: Vec<_> = items.iter().map(|item| item.as_reference().unwrap().clone()).collect();
    assert_eq!(read, references);
}

#[test]
fn attributes_beside_the_items_and_old_names_of_items_are_kept() {
    let record = b"\x80\x03capp\nFolder\nq\0.\x80\x03}q\x01(X\n\0\0\0_containerq\x02}q\x03X\x01\0\0\0aq\x04K\x01sX\
        \x05\0\0\0titleq\x05X\x04\0\0\0Homeq\x06u.";
    let python = b"\x80\x03capp\nFolder\nq\0.\x80\x03}q\x01(X\x05\0\0\0titleq\x02X\x04\0\0\0Homeq\x03X\x04\0\0\0da\
        taq\x04}q\x05(X\x01\0\0\0aq\x06K\x01X\x01\0\0\0bq\x07Nuu.";
    let mut database = Database::with(Oid::ROOT, &record[..]);
    let (title, changes) = database.run(|snapshot| {
        snapshot.modify(Oid::ROOT, |folder: &mut PersistentMapping| {
            folder.insert("b", PyValue::NONE);
            folder.attributes().get("title").cloned()
        })
    });
    assert_eq!(changes.stores[0].record, python[..]);
    assert_eq!(title.unwrap().as_text(), Some("Home"));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let nested = |depth| (0..depth).fold(PyValue::NONE, |value, _| PyValue::list(vec![value]));
    let write = |value: PyValue| {
        Database::with(Oid::ROOT, EMPTY)
            .try_run(|snapshot| snapshot.write(Oid::ROOT, value.clone()))
            .map(|_| ())
    };
    let failed = |error| Err(Error::Write { id: ObjectId::ROOT, error });
    assert_eq!(write(nested(250)), Ok(()));
    assert_eq!(write(nested(251)), failed(WriteError::TooDeep { limit: 250 }));
    let unknown = ObjectId::New(7);
    let reference = PyValue::reference(unknown, &PersistentMapping::class());
    assert_eq!(write(reference), failed(WriteError::UnknownNew(unknown)));
    let extension = PyValue::from_pickle(&Bytes::from_static(b"\x80\x03\x82\x01.")).unwrap();
    assert_eq!(write(extension), failed(WriteError::ExtensionCode { code: 1 }));
}

#[test]
fn records_that_cannot_be_read_are_errors() {
    let read = |record: &'static [u8]| {
        let mut database = Database::with(Oid(3), record);
        database.try_run(|snapshot| snapshot.class(Oid(3))).map(|(class, _)| class)
    };
    assert_eq!(read(b"\x80\x03cm\nC\n.\x80\x03N."), Ok(Class::new("m", "C")));
    let error = Unreadable::Truncated { at: 9 };
    assert_eq!(read(b"\x80\x03cm\nC\n.\x80"), Err(Error::Unreadable { oid: Oid(3), error }));
    assert_eq!(read(b"\x80\x03K\x01.\x80\x03N."), Err(Error::NoClass(Oid(3))));
}

#[test]
fn missing_oids_are_an_error() {
    let mut snapshot = Snapshot::new(Tid(1));
    let class = PersistentList::class();
    let id = snapshot.create(&class, PersistentList::new());
    let list = PyValue::list(vec![PyValue::reference(id, &class)]);
    snapshot.add(Oid(3), &class, list);
    let error = WriteError::NoOids { given: 0 };
    assert_eq!(snapshot.changes(&[]), Err(Error::Write { id: Oid(3).into(), error }));
    assert_eq!(snapshot.changes(&[Oid(4)]).unwrap().new_oids, [(id, Oid(4))].into());
}

#[test]
fn states_of_other_types_are_errors() {
    let record = b"\x80\x03capp\nNode\nq\0.\x80\x03K\x01.";
    let mut database = Database::with(Oid::ROOT, &record[..]);
    let failed =
        |error| Err(Error::State { id: ObjectId::ROOT, class: Class::new("app", "Node"), error });
    let form = |part, expected| failed(StateError::Form { part, expected });
    let no_dict = form("the state", "a dict of attributes");
    let read = database.try_run(|snapshot| snapshot.read::<Instance>(Oid::ROOT).map(|_| ()));
    assert_eq!(read.map(|_| ()), no_dict);
    let read = database.try_run(|snapshot| snapshot.read::<Length>(Oid::ROOT).map(|_| ()));
    assert_eq!(read.map(|_| ()), failed(StateError::Class { expected: "Length" }));
    let error = no_dict.unwrap_err().to_string();
    assert_eq!(
        error,
        "the state of 0x0000000000000000, a app.Node, cannot be used: the state is not a dict of attributes"
    );
}
