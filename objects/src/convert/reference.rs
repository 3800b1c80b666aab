//! References in Rust values: serde has no kind of value for them, so they pass through it as newtype
//! structs of a name that nothing else has, with their parts as the content.

use alloc::string::String;
use alloc::vec;

use rzeo_core::Oid;
use serde_core::de::{self, Deserialize, Deserializer, Visitor};
use serde_core::ser::{Serialize, Serializer};

use crate::class::Class;
use crate::reference::{ObjectId, Reference};
use crate::value::{PyValue, View};

/// The name of the newtype struct.
pub(super) const NAME: &str = "rzeo_objects::Reference";

/// All parts of a reference: form, whether it has an oid, the oid or other number, database, and
/// module and name of the class.
type Parts = (u8, bool, u64, Option<String>, Option<(String, String)>);

/// The parts of a reference.
fn split(reference: &Reference) -> Parts {
    let id_parts = |id: ObjectId| match id {
        ObjectId::Stored(oid) => (true, oid.0),
        ObjectId::New(number) => (false, number.into()),
    };
    let class_parts = |class: &Option<Class>| {
        class.as_ref().map(|class| (class.module().into(), class.name().into()))
    };
    match reference {
        Reference::Strong { id, class } => {
            let (stored, number) = id_parts(*id);
            (0, stored, number, None, class_parts(class))
        }
        Reference::Weak { id, database } => {
            let (stored, number) = id_parts(*id);
            (1, stored, number, database.clone(), None)
        }
        Reference::Foreign { database, oid, class } => {
            (2, true, oid.0, Some(database.clone()), class_parts(class))
        }
    }
}

/// The reference of these parts.
fn join((form, stored, number, database, class): Parts) -> Option<Reference> {
    let id = if stored {
        ObjectId::Stored(Oid(number))
    } else {
        ObjectId::New(u32::try_from(number).ok()?)
    };
    let class = class.map(|(module, name)| Class::new(&module, &name));
    Some(match (form, database) {
        (0, None) => Reference::Strong { id, class },
        (1, database) => Reference::Weak { id, database },
        (2, Some(database)) => Reference::Foreign { database, oid: id.oid()?, class },
        _ => return None,
    })
}

/// The parts as the value that the deserializer reads in place of a reference.
pub(super) fn to_parts(reference: &Reference) -> PyValue {
    let (form, stored, number, database, class) = split(reference);
    let class = class
        .map_or(PyValue::NONE, |(module, name)| PyValue::tuple(vec![module.into(), name.into()]));
    let database = database.map_or(PyValue::NONE, PyValue::from);
    PyValue::tuple(vec![i64::from(form).into(), stored.into(), number.into(), database, class])
}

/// The reference of the parts that the serializer was given.
pub(super) fn from_parts(parts: &PyValue) -> Option<Reference> {
    let parts = parts.as_tuple()?;
    let [form, stored, number, database, class] = &*parts else { return None };
    let View::Bool(stored) = stored.view() else { return None };
    let number = match number.view() {
        View::Int(int) => u64::try_from(int).ok()?,
        View::BigInt(bytes) => u64::from_le_bytes(*bytes.first_chunk()?),
        _ => return None,
    };
    let class = match class.as_tuple() {
        Some(names) => match &*names {
            [module, name] => Some((module.as_text()?.into(), name.as_text()?.into())),
            _ => return None,
        },
        None => None,
    };
    let form = u8::try_from(form.as_int()?).ok()?;
    join((form, stored, number, database.as_text().map(String::from), class))
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAME, &split(self))
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, ReferenceVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = Reference;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a reference to a persistent object")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        let parts = Parts::deserialize(deserializer)?;
        join(parts).ok_or_else(|| de::Error::custom("the parts of a reference do not match"))
    }
}
