//! FileStorage and MappingStorage for rzeo.
