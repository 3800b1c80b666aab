//! The extension of a transaction, which `tpc_begin` brings as a value.

use alloc::format;

use bytes::Bytes;

use crate::pickle;
use crate::value::{Opaque, Value};
use crate::wire::refusal::Refusal;

/// The extension as FileStorage keeps it: nothing for none, else a pickled dict. Bytes are taken as
/// such a pickle (`spec: zeo-protocol 9.1`).
pub(super) fn pickled(extension: Value) -> Result<Bytes, Refusal> {
    match as_dict(extension) {
        Value::None => Ok(Bytes::new()),
        Value::Bytes(bytes) => Ok(bytes),
        Value::Dict(items) if items.is_empty() => Ok(Bytes::new()),
        dict @ Value::Dict(_) => pickle::dump(&dict).map_err(|unwritable| {
            let text = format!("tpc_begin: the extension cannot be kept: {unwritable}");
            Refusal::text("builtins.TypeError", text)
        }),
        other => {
            let text = format!("tpc_begin: a dict expected as extension, not {}", other.kind());
            Err(Refusal::text("builtins.TypeError", text))
        }
    }
}

/// A subclass of `dict` may pickle itself as `dict(items)`, which is the dict that Python's server
/// makes of it.
fn as_dict(extension: Value) -> Value {
    let Value::Opaque(opaque) = &extension else { return extension };
    let Opaque::Call { callable: Value::Opaque(class), args: Value::Tuple(args) } = &**opaque
    else {
        return extension;
    };
    let is_dict = matches!(&**class, Opaque::Global { name, .. } if name == "dict");
    let [Value::Tuple(items) | Value::List(items)] = args.as_slice() else { return extension };
    let pairs = items.iter().map(|item| match item {
        Value::Tuple(pair) | Value::List(pair) => <[Value; 2]>::try_from(pair.clone()).ok(),
        _ => None,
    });
    match pairs.map(|pair| pair.map(<(Value, Value)>::from)).collect() {
        Some(items) if is_dict => Value::Dict(items),
        _ => extension,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// As a subclass of `dict` pickles itself.
    #[test]
    fn an_extension_may_be_a_call_of_dict() {
        let call = |name: &str, args| {
            let (module, name) = ("builtins".into(), name.into());
            let callable = Opaque::Global { module, name }.into();
            Value::from(Opaque::Call { callable, args: Value::Tuple(args) })
        };
        let pair = || Value::Tuple(vec![Value::text("key"), Value::Int(1)]);
        let of = |name, items| as_dict(call(name, vec![Value::List(items)]));
        let dict = Value::Dict(vec![(Value::text("key"), Value::Int(1))]);
        assert_eq!(of("dict", vec![pair()]), dict);
        assert_eq!(of("list", vec![pair()]), call("list", vec![Value::List(vec![pair()])]));
        let odd = vec![pair(), Value::Int(7)];
        assert_eq!(of("dict", odd.clone()), call("dict", vec![Value::List(odd)]));
    }
}
