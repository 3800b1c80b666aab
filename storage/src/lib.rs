//! FileStorage and MappingStorage for rzeo.

mod mapping;

pub use self::mapping::MappingStorage;
