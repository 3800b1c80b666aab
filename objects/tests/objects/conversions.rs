//! Rust values to Python values and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use rzeo_core::Oid;
use rzeo_objects::convert::{Converted, from_value, to_value};
use rzeo_objects::{
    Class, ConvertError, Error, ObjectId, PyValue, Reference, StateError, WriteError,
};
use serde::{Deserialize, Serialize};

use crate::database::Database;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    small: (i8, u8, i16, u16),
    wide: (i64, u64, i128, u128),
    float: f64,
    flag: bool,
    letter: char,
    text: String,
    nothing: (),
    maybe: Vec<Option<Box<Self>>>,
    numbers: Vec<u32>,
    by_name: BTreeMap<String, Shape>,
    by_number: BTreeMap<i32, [u8; 2]>,
    wrapped: Wrapped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i64, i64),
    Named { name: String, inner: Option<Box<Self>> },
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point),
        (-1e9..1e9).prop_map(Shape::Circle),
        any::<(i64, i64)>().prop_map(|(a, b)| Shape::Line(a, b)),
        "[a-zä]{0,4}".prop_map(|name| Shape::Named { name, inner: Some(Box::new(Shape::Point)) }),
    ]
}

prop_compose! {
    fn everything()(
        small: (i8, u8, i16, u16),
        wide: (i64, u64, i128, u128),
        float in -1e300..1e300,
        flag: bool,
        letter: char,
        text: String,
        numbers: Vec<u32>,
        by_name in prop::collection::btree_map("[a-z]{0,3}", shape(), 0..4),
        by_number: BTreeMap<i32, [u8; 2]>,
        wrapped: u64,
    ) -> Everything {
        Everything {
            small, wide, float, flag, letter, text, nothing: (), maybe: Vec::new(), numbers, by_name,
            by_number, wrapped: Wrapped(wrapped),
        }
    }
}

proptest! {
    #[test]
    fn what_was_converted_converts_back(outer in everything(), inner in everything()) {
        let value = Everything { maybe: vec![None, Some(Box::new(inner))], ..outer };
        let mut database = Database::new();
        let class = Class::new("app", "Everything");
        database.run(|snapshot| {
            snapshot.add(Oid(5), &class, Converted(value.clone()));
            Ok(())
        });
        let (read, _) = database.run(|snapshot| snapshot.read::<Converted<Everything>>(Oid(5)));
        prop_assert_eq!(&read.0, &value);
    }

    #[test]
    fn integers_of_any_size_convert(signed: i128, unsigned: u128) {
        prop_assert_eq!(from_value::<i128>(&to_value(&signed).unwrap()).unwrap(), signed);
        prop_assert_eq!(from_value::<u128>(&to_value(&unsigned).unwrap()).unwrap(), unsigned);
    }
}

#[test]
fn names_of_fields_are_one_object_each() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Point {
        x1: i8,
        y1: Option<Box<Self>>,
    }
    let point = Point { x1: 1, y1: Some(Box::new(Point { x1: 2, y1: None })) };
    let mut database = Database::new();
    let (_, changes) = database.run(|snapshot| {
        snapshot.add(Oid(5), &Class::new("app", "Point"), Converted(point.clone()));
        Ok(())
    });
    // What Python writes for an object whose __dict__ is {'x1': 1, 'y1': {'x1': 2, 'y1': None}}.
    let python =
        b"\x80\x03capp\nPoint\nq\0.\x80\x03}q\x01(X\x02\0\0\0x1q\x02K\x01X\x02\0\0\0y1q\x03}q\x04(\
        h\x02K\x02h\x03Nuu.";
    assert_eq!(changes.stores[0].record, python[..]);
}

#[test]
fn references_convert() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Links {
        target: Reference,
        weak: Option<Reference>,
        all: Vec<Reference>,
    }
    let class = Class::new("app", "Node");
    let links = Links {
        target: Reference::new(Oid(u64::MAX), &class),
        weak: Some(Reference::Weak { id: ObjectId::New(3), database: Some("other".into()) }),
        all: vec![
            Reference::Strong { id: ObjectId::ROOT, class: None },
            Reference::Foreign { database: "other".into(), oid: Oid(7), class: Some(class) },
        ],
    };
    let value = to_value(&links).unwrap();
    assert_eq!(format!("{value:?}").matches("Strong").count(), 2, "{value:?}");
    assert_eq!(from_value::<Links>(&value).unwrap(), links);
}

#[track_caller]
fn check_error<T>(value: &PyValue, path: &str, message: &str)
where
    T: std::fmt::Debug + serde::de::DeserializeOwned,
{
    let error: ConvertError = from_value::<T>(value).unwrap_err();
    assert_eq!((error.path(), error.to_string().as_str()), (path, message));
}

#[test]
fn errors_have_the_path() {
    let pickle = |pickle: &'static [u8]| PyValue::from_pickle(&Bytes::from_static(pickle)).unwrap();
    check_error::<i64>(
        &"text".into(),
        "",
        "the value does not convert: invalid type: string \"text\", expected i64",
    );
    // {'items': [{'name': 'a'}, {'name': 300}]}
    let nested =
        pickle(b"}X\x05\0\0\0items](}X\x04\0\0\0nameX\x01\0\0\0as}X\x04\0\0\0nameM\x2c\x01ses.");
    type Nested<T> = BTreeMap<String, Vec<BTreeMap<String, T>>>;
    check_error::<Nested<String>>(
        &nested,
        ".items[1].name",
        "the value at .items[1].name does not convert: invalid type: integer `300`, expected a string",
    );
    check_error::<(u8, u8)>(
        &pickle(b"K\x01K\x02K\x03\x87."),
        "",
        "the value does not convert: there are 1 items too many",
    );
    check_error::<(u8, u8)>(
        &pickle(b"K\x01\x85."),
        "",
        "the value does not convert: invalid length 1, expected a tuple of size 2",
    );
    check_error::<u8>(
        &pickle(b"cdatetime\ndate\nC\x04\x07\xea\x01\x02\x85R."),
        "",
        "the value does not convert: it is an object of a class that does not convert, expected u8",
    );
    check_error::<Shape>(
        &pickle(b"}X\x04\0\0\0LineK\x01s."),
        ".Line",
        "the value at .Line does not convert: invalid type: integer `1`, expected tuple variant Shape::Line",
    );
    check_error::<Reference>(
        &1.into(),
        "",
        "the value does not convert: it is an int, expected a reference to a persistent object",
    );
}

#[test]
fn values_without_end_are_errors() {
    #[derive(Debug, Deserialize)]
    struct Nested(#[expect(dead_code, reason = "it is only read")] Vec<Self>);
    let itself = PyValue::from_pickle(&Bytes::from_static(b"]q\0h\0a.")).unwrap();
    let error = from_value::<Nested>(&itself).unwrap_err().to_string();
    assert!(error.ends_with("values are nested deeper than the maximum of 128 levels"), "{error}");
    // Each of 40 tuples has the next one twice.
    let shared = [&b")"[..], &b"2\x86".repeat(40), b"."].concat();
    let shared = PyValue::from_pickle(&shared.into()).unwrap();
    let error = from_value::<serde_json::Value>(&shared).unwrap_err().to_string();
    assert!(error.ends_with("there are more than the maximum of 4194304 values"), "{error}");
    assert!(format!("{shared:?}").len() < 100_000);
}

#[test]
fn states_that_do_not_convert_are_errors() {
    let class = Class::new("app", "Node");
    let mut database = Database::new();
    let mut run = |state: PyValue| {
        database.try_run(|snapshot| {
            snapshot.add(Oid(5), &class, state.clone());
            Ok(())
        })?;
        let read = database.try_run(|snapshot| snapshot.read::<Converted<Vec<u8>>>(Oid(5)));
        database.records.remove(&Oid(5));
        read.map(|(state, _)| state.0.clone())
    };
    assert_eq!(run(PyValue::list(vec![1.into()])), Ok(vec![1]));
    let Err(Error::State { error: StateError::Convert(error), .. }) = run(1.into()) else {
        panic!("a number is no list");
    };
    assert_eq!(error.path(), "");
    // A Rust value that nests itself too deep.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Nested(Vec<Self>);
    let nested = (0..200).fold(Nested(vec![]), |inner, _| Nested(vec![inner]));
    let written = database.try_run(|snapshot| {
        snapshot.add(Oid(5), &class, Converted(nested.clone()));
        Ok(())
    });
    let Err(Error::Write { error: WriteError::Convert(error), .. }) = written else {
        panic!("it is too deep");
    };
    assert!(error.path().starts_with("[0][0]"), "{error}");
}

#[test]
fn unknown_values_do_no_harm_where_nothing_is_expected() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Name {
        name: String,
    }
    // {'when': datetime.date(2026, 1, 2), 'name': 'a'}
    let pickle = b"}(X\x04\0\0\0whencdatetime\ndate\nC\x04\x07\xea\x01\x02\x85RX\x04\0\0\0nameX\x01\0\0\0au.";
    let value = PyValue::from_pickle(&Bytes::from_static(pickle)).unwrap();
    assert_eq!(from_value::<Name>(&value).unwrap(), Name { name: "a".into() });
}
