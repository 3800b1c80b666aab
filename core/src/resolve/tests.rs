use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::record::values;
use crate::value::{ReadLimits, Value};

fn record(class: &str, state: &[u8]) -> Bytes {
    let (module, name) = class.split_once(' ').expect("module and name");
    [b"\x80\x03c", module.as_bytes(), b"\n", name.as_bytes(), b"\nq\0.\x80\x03", state, b"."]
        .concat()
        .into()
}

/// The resolved state of a conflict between states of one class.
fn merged(class: &str, states: [&[u8]; 3]) -> Option<Value> {
    let [old, committed, new] = states.map(|state| record(class, state));
    let merged = resolve(&old, &committed, &new)?;
    let (_, state) = values(&merged, &ReadLimits::DEFAULT).expect("written records can be read");
    Some(state)
}

/// A conflict over the value of key 1, changed by the committed transaction only; the other one
/// adds key 2, so that there is a conflict to resolve.
fn value_changed(old: &[u8], committed: &[u8]) -> Option<Value> {
    let bucket = |items: &[&[u8]]| [b"(", &items.concat()[..], b"t\x85"].concat();
    let old_state = bucket(&[b"K\x01", old]);
    let committed_state = bucket(&[b"K\x01", committed]);
    let new_state = bucket(&[b"K\x01", old, b"K\x02N"]);
    merged("BTrees.IOBTree IOBucket", [&old_state, &committed_state, &new_state])
}

#[test]
fn lengths_add_up() {
    assert_eq!(
        merged("BTrees.Length Length", [b"K\x0a", b"K\x0f", b"K\x0c"]),
        Some(Value::Int(17))
    );
    assert_eq!(merged("BTrees.Length Length", [b"K\x0a", b"K\x0f", b"N"]), None);
}

/// Python cannot even load such a state.
#[test]
fn names_of_classes_are_text() {
    let reference = |module: &[u8]| [b"C\x08\0\0\0\0\0\0\0\x01c", module, b"\nC\n\x86Q"].concat();
    assert!(value_changed(b"N", &reference(b"module")).is_some());
    assert!(value_changed(b"N", &reference(b"modul\xc3\xa9")).is_some());
    assert!(value_changed(b"N", &reference(b"modul\xff")).is_none());
    assert!(value_changed(b"N", &reference(b"modul\xed\xa0\x80")).is_none());
}

#[test]
fn only_known_classes_are_resolved() {
    for class in ["BTrees.OOBTree Nope", "m C", "BTrees.XXBTree XXSet", "BTrees.Length Len"] {
        assert_eq!(merged(class, [b"K\x01", b"K\x02", b"K\x03"]), None, "{class}");
        assert!(!is_supported(&record(class, b"N")), "{class}");
    }
    for class in ["BTrees.Length Length", "BTrees.OOBTree OOBucket"] {
        assert!(is_supported(&record(class, b"N")), "{class}");
    }
    assert!(!is_supported(&Bytes::from_static(b"no record")));
    let with_arguments = b"\x80\x03cBTrees.Length\nLength\nK\x01\x85\x86.\x80\x03K\x01.";
    let with_arguments = Bytes::from_static(with_arguments);
    assert_eq!(resolve(&with_arguments, &with_arguments, &with_arguments), None);
    let without = b"\x80\x03cBTrees.Length\nLength\nN\x86.\x80\x03K\x01.";
    let without = Bytes::from_static(without);
    assert!(resolve(&without, &without, &without).is_some());
}

#[test]
fn values_that_have_no_order_stay_in_conflict() {
    assert!(value_changed(b"K\x01", b"K\x02").is_some());
    let pairs: &[(&[u8], &[u8])] = &[
        (b"K\x01", b"X\x01\0\0\0a"),
        (b"}", b"}"),
        (b"N\x85", b"K\x01\x85"),
        (b"C\x08aaaaaaaaQ", b"C\x08bbbbbbbbQ"),
        (b"cm\nC\n", b"cm\nC\n"),
    ];
    for (old, committed) in pairs {
        assert_eq!(value_changed(old, committed), None, "{old:?} {committed:?}");
    }
}

#[test]
fn states_that_python_might_not_load_stay_in_conflict() {
    let unloadable: &[&[u8]] = &[
        b"cm\nC\n)R",
        b"cm\nC\n)\x81",
        b"cm\nC\n",
        b"}]Ns",
        b"}C\x08aaaaaaaaQNs",
        b"cbuiltins\nset\n](]]e\x85R",
        b"cbuiltins\nset\n)R",
        b"]}b",
        b"U\x01\xff",
        b"X\x01\0\0\0\xff",
        b"\x82\x01",
        b"K\x01Q",
        b"cdecimal\nDecimal\nX\x03\0\0\0NaN\x85R",
        b"cdatetime\ndate\nC\x04\x07\xe4\x0d\x01\x85R",
    ];
    for value in unloadable {
        assert_eq!(value_changed(b"K\x01", value), None, "{value:?}");
    }
    let loadable: &[&[u8]] = &[
        b"}N\x85Ns",
        b"cbuiltins\nset\n](K\x01K\x02e\x85R",
        b"cdecimal\nDecimal\nX\x03\0\0\0-.5\x85R",
        b"cdatetime\ndate\nC\x04\x07\xe4\x0c\x01\x85R",
        b"cbuiltins\ncomplex\nG\0\0\0\0\0\0\0\0G\0\0\0\0\0\0\0\0\x86R",
    ];
    for (at, value) in loadable.iter().enumerate() {
        // `None` can be compared with everything.
        assert_eq!(value_changed(b"N", value).is_some(), at != 2, "{value:?}");
    }
}

#[test]
fn objects_shared_in_a_state_are_shared_in_the_result() {
    let old = record("BTrees.IOBTree IOBucket", b"K\x01N\x86\x85");
    let committed = record("BTrees.IOBTree IOBucket", b"(K\x00]q\x01K\x01NK\x02h\x01t\x85");
    let new = record("BTrees.IOBTree IOBucket", b"(K\x01NK\x03Nt\x85");
    let merged = resolve(&old, &committed, &new).expect("nothing conflicts");
    assert!(merged.ends_with(b"\x80\x03(K\x00]q\x01K\x01NK\x02h\x01K\x03Ntq\x02\x85q\x03."));
}

#[test]
fn values_too_large_to_compare_stay_in_conflict() {
    let doubled = [&b"K\x01"[..], &b"2\x86".repeat(64)].concat();
    assert_eq!(value_changed(&doubled, &doubled), None);
    let cyclic = b"]q\x07h\x07a";
    assert_eq!(value_changed(cyclic, cyclic), None);
    let key =
        |levels| [&b"}N"[..], &b"q\x070(h\x07h\x07h\x07h\x07t".repeat(levels), b"Ns"].concat();
    assert!(value_changed(b"N", &key(2)).is_some());
    assert_eq!(value_changed(b"N", &key(16)), None);
}

proptest! {
    #[test]
    fn arbitrary_states_do_not_panic(
        states in prop::array::uniform3(prop::collection::vec(
            prop::sample::select(&b"KKKNNtt(\x85\x85\x86]ea}sQq\x01h\x01\x00.C\x02"[..]),
            0..40,
        )),
    ) {
        let states: Vec<Vec<u8>> = states.into();
        for class in ["OOBTree OOBTree", "OOBTree OOBucket", "LFBTree LFBucket"] {
            let class = alloc::format!("BTrees.{class}");
            let _ = merged(&class, [&states[0], &states[1], &states[2]]);
        }
    }
}
