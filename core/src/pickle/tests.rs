use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;

use super::opcode as op;
use super::*;
use crate::value::Opaque;
use crate::value::tests::any_value;

const LIMITS: ReadLimits = ReadLimits::DEFAULT;

fn read(pickle: &[u8]) -> Result<Value, Unreadable> {
    load(&Bytes::copy_from_slice(pickle), &LIMITS)
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(bytes))
}

fn ints(ints: &[i64]) -> Vec<Value> {
    ints.iter().map(|int| Value::Int(*int)).collect()
}

fn global(module: &str, name: &str) -> Value {
    Opaque::Global { module: module.into(), name: name.into() }.into()
}

#[test]
fn every_spelling_of_plain_values_is_read() {
    let big = Bytes::from_static(b"\0\0\0\0\0\0\0\0\x01");
    let spellings: &[(&[u8], Value)] = &[
        (b"I01\n.", Value::Bool(true)),
        (b"I00\n.", Value::Bool(false)),
        (b"I-12\n.", Value::Int(-12)),
        (b"L12L\n.", Value::Int(12)),
        (b"L18446744073709551616L\n.", Value::BigInt(big.clone())),
        (b"\x8b\x09\0\0\0\0\0\0\0\0\0\0\0\x01.", Value::BigInt(big)),
        (b"\x8a\x00.", Value::Int(0)),
        (b"F-1.5e3\n.", Value::Float(-1500.0)),
        (b"S'a\\x41\\n'\n.", Value::text("aA\n")),
        (b"S\"\\xff\"\n.", bytes(b"\xff")),
        (b"U\x02ab.", Value::text("ab")),
        (b"T\x01\0\0\0\xff.", bytes(b"\xff")),
        (b"V\\u20acuro\n.", Value::text("€uro")),
        (b"X\x03\0\0\0\xed\xa0\x80.", Value::text("\u{fffd}")),
        (b"(K\x01K\x02l.", Value::List(ints(&[1, 2]))),
        (b"(K\x01K\x02d.", Value::Dict(vec![(Value::Int(1), Value::Int(2))])),
        (b"(lp0\nI1\na.", Value::List(ints(&[1]))),
        (b"(dp7\nI1\nI2\nsp8\ng7\n0.", Value::Dict(vec![(Value::Int(1), Value::Int(2))])),
        (b"K\x01K\x020.", Value::Int(1)),
        (b"K\x01(K\x02K\x031.", Value::Int(1)),
        (b"K\x01(0.", Value::Int(1)),
        (b"K\x012\x86.", Value::Tuple(ints(&[1, 1]))),
        (b"K\x01q\0h\0j\0\0\0\0\x87.", Value::Tuple(ints(&[1, 1, 1]))),
        (b"K\x05r\xff\xff\xff\xff0j\xff\xff\xff\xff.", Value::Int(5)),
        (b"czodbpickle\nbinary\nC\x02ab\x85R.", bytes(b"ab")),
        (b"czodbpickle\nbinary\nB\x02\0\0\0ab\x85\x81.", bytes(b"ab")),
        (b"\x80\x02N.ignored", Value::None),
    ];
    for (pickle, value) in spellings {
        assert_eq!(read(pickle).as_ref(), Ok(value), "{pickle:?}");
    }
}

#[test]
fn objects_are_kept_by_name() {
    let class = || global("m", "C");
    let args = || Value::Tuple(ints(&[1]));
    let call = || Value::from(Opaque::Call { callable: class(), args: args() });
    let new = Value::from(Opaque::New { class: class(), args: args() });
    let objects: &[(&[u8], Value)] = &[
        (b"cm\nC\n.", class()),
        (b"cm\nC\nK\x01\x85R.", call()),
        (b"(K\x01im\nC\n.", call()),
        (b"(cm\nC\nK\x01o.", call()),
        (b"cm\nC\nK\x01\x85\x81.", new.clone()),
        (b"Pid\n.", Opaque::Reference(bytes(b"id")).into()),
        (b"K\x07Q.", Opaque::Reference(Value::Int(7)).into()),
        (
            b"cm\nC\nK\x01\x85\x81}b.",
            Opaque::Build { object: new, state: Value::Dict(vec![]) }.into(),
        ),
        (
            b"cm\nC\nK\x01\x85RK\x01a(K\x02K\x03e.",
            Opaque::Extend { object: call(), items: ints(&[1, 2, 3]) }.into(),
        ),
        (
            b"cm\nC\nK\x01\x85RK\x01K\x02s.",
            Opaque::Update { object: call(), items: vec![(Value::Int(1), Value::Int(2))] }.into(),
        ),
    ];
    for (pickle, value) in objects {
        assert_eq!(read(pickle).as_ref(), Ok(value), "{pickle:?}");
    }
}

#[test]
fn changes_to_a_shared_object_are_seen_everywhere() {
    let list = Value::List(ints(&[1]));
    assert_eq!(read(b"]q\0h\0K\x01a\x86."), Ok(Value::Tuple(vec![list.clone(), list])));
    let object = Opaque::Call { callable: global("m", "C"), args: Value::Tuple(vec![]) };
    let built = Value::from(Opaque::Build { object: object.into(), state: Value::None });
    let both = Value::Tuple(vec![built.clone(), built]);
    assert_eq!(read(b"cm\nC\n)Rq\0h\0Nb\x86."), Ok(both));
}

#[test]
fn appending_nothing_changes_nothing() {
    assert_eq!(read(b"X\x01\0\0\0a(e."), Ok(Value::text("a")));
    assert_eq!(read(b"X\x01\0\0\0a(u."), Ok(Value::text("a")));
    assert!(read(b"(e.").is_err() && read(b"(u.").is_err());
}

/// Values that exist only once in Python are written once, except where an opcode changes them.
#[test]
fn changes_to_an_object_do_not_change_equal_ones() {
    let changed = |object| Value::from(Opaque::Extend { object, items: ints(&[1]) });
    for object in [bytes(b"d"), Value::text("d"), global("m", "C")] {
        let value = Value::Tuple(vec![
            object.clone(),
            changed(object.clone()),
            changed(object.clone()),
            object,
        ]);
        let written = dump(&value).expect("it is not too long");
        assert_eq!(read(&written), Ok(value));
    }
}

#[test]
fn malformed_pickles_are_refused_with_the_reason() {
    use Unreadable as U;
    let cases: &[(&[u8], Unreadable)] = &[
        (b"", U::Truncated { at: 0 }),
        (b"K\x01", U::Truncated { at: 2 }),
        (b"C\x05abc", U::Truncated { at: 2 }),
        (b"X\xff\xff\xff\xffabc", U::Truncated { at: 5 }),
        (b"cmodule\nname", U::Truncated { at: 8 }),
        (b"\x80\x04N.", U::ProtocolTooNew { protocol: 4 }),
        (b"N\x95.", U::UnknownOpcode { opcode: 0x95, at: 1 }),
        (b"N0.", U::StackUnderflow { opcode: b'.', at: 2 }),
        (b"NN(\x86.", U::StackUnderflow { opcode: 0x86, at: 3 }),
        (b"(o.", U::StackUnderflow { opcode: b'o', at: 1 }),
        (b"Nt.", U::NoMark { at: 1 }),
        (b"Nh\x07.", U::MemoMissing { slot: 7, at: 1 }),
        (b"T\xff\xff\xff\xff.", U::NegativeLength { length: -1, at: 1 }),
        (b"NIx\n.", U::BadLine { at: 1 }),
        (b"Fx\n.", U::BadLine { at: 0 }),
        (b"S'\n.", U::BadLine { at: 0 }),
        (b"V\\u1\n.", U::BadLine { at: 0 }),
        (b"Np-1\n.", U::BadLine { at: 1 }),
        (b"}(Nu.", U::OddItems { at: 3 }),
        (b"X\x01\0\0\0\xff.", U::NotUtf8),
        (b"\x82\x09.", U::ExtensionCode { code: 9 }),
        (b"\x84\0\x01\0\0.", U::ExtensionCode { code: 256 }),
    ];
    for (pickle, error) in cases {
        assert_eq!(read(pickle).as_ref(), Err(error), "{pickle:?}");
    }
}

#[test]
fn depth_is_limited_exactly() {
    let nested = |depth: usize| [&b"N"[..], &vec![op::TUPLE1; depth], b"."].concat();
    let too_deep = Err(Unreadable::TooDeep { limit: 128 });
    assert!(read(&nested(128)).is_ok());
    assert_eq!(read(&nested(129)), too_deep);
    assert_eq!(read(&nested(1_000_000)), too_deep);
    // The same for the general machine: the fast path gives up at the POP.
    assert!(read(&[b"N0", &nested(128)[..]].concat()).is_ok());
    assert_eq!(read(&[b"N0", &nested(129)[..]].concat()), too_deep);
}

#[test]
fn values_that_contain_themselves_are_too_deep() {
    let cyclic: [&[u8]; 3] = [b"]q\0h\0a.", b"}q\0Nh\0s.", b"cm\nC\n)Rq\0h\0b."];
    for pickle in cyclic {
        assert_eq!(read(pickle), Err(Unreadable::TooDeep { limit: 128 }), "{pickle:?}");
    }
}

#[test]
fn a_hundred_bytes_that_unfold_to_gigabytes_are_too_large() {
    let doubling = [&b"N"[..], &b"2\x86".repeat(50), b"."].concat();
    let text = [&b"X\x64\0\0\0"[..], &[b'a'; 100]].concat();
    let shared_text = [&text[..], b"q\0(", &b"h\0".repeat(1 << 20), b"t."].concat();
    for pickle in [doubling, shared_text] {
        let limit = LIMITS.memory_bytes_max;
        assert!(read(&pickle) == Err(Unreadable::TooLarge { limit }));
    }
}

#[test]
fn a_megabyte_of_marks_is_too_large() {
    let limits = ReadLimits { memory_bytes_max: 1 << 20, ..LIMITS };
    let error = Err(Unreadable::TooLarge { limit: limits.memory_bytes_max });
    for opcode in [op::MARK, op::EMPTY_LIST, op::EMPTY_DICT, op::NONE, op::EMPTY_TUPLE] {
        assert_eq!(load(&vec![opcode; 1 << 20].into(), &limits), error);
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn pickles_over_four_gigabytes_are_refused() {
    // The bytes need not be there for the check to be reached.
    assert_eq!(arena::index(1 << 40), Err(Unreadable::TooLong { length: 1 << 40 }));
}

/// Bytes that are often valid opcodes.
fn any_pickle() -> impl Strategy<Value = Vec<u8>> {
    let opcodes =
        &b"(.012FIJKLMNPQRSTUVXabcd}egijl]opqrst)uGBC\x80\x81\x85\x86\x87\x88\x8a\n\0\x01"[..];
    let byte = prop_oneof![4 => prop::sample::select(opcodes.to_vec()), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(pickle in any_pickle()) {
        let pickle = Bytes::from(pickle);
        let general = load_general(&pickle, &LIMITS);
        // NaN is not equal to itself, but looks the same.
        if let Some(value) = direct::read(&pickle, &LIMITS) {
            let value = Ok::<_, Unreadable>(value);
            prop_assert_eq!(format!("{general:?}"), format!("{value:?}"));
        }
        let _ = crate::record::references(&pickle);
        let _ = crate::record::class_name(&pickle);
    }

    #[test]
    fn both_writers_are_understood_by_both_readers(value in any_value()) {
        let mut plain = Vec::new();
        emit::write(&mut plain, &value).unwrap();
        let plain = Bytes::from(plain);
        prop_assert_eq!(direct::read(&plain, &LIMITS), Some(value.clone()));
        prop_assert_eq!(load_general(&plain, &LIMITS), Ok(value.clone()));
        let memo = dump(&value).unwrap();
        prop_assert_eq!(load(&memo, &LIMITS), Ok(value));
        // No prefix of a pickle is a pickle.
        prop_assert!(load(&plain.slice(..plain.len() - 1), &LIMITS).is_err());
    }

    #[test]
    fn objects_survive_being_stored(value in any_value(), state in any_value()) {
        let class = global("module", "Class");
        let object = Opaque::New { class: class.clone(), args: value.clone() }.into();
        let object = Opaque::Extend { object, items: vec![class, value.clone()] }.into();
        let object = Opaque::Update { object, items: vec![(value.clone(), Value::None)] }.into();
        let object = Opaque::Build { object, state }.into();
        let object = Value::from(Opaque::Reference(object));
        prop_assert_eq!(load(&dump(&object).unwrap(), &LIMITS), Ok(object));
    }
}
