//! What every [`crate::MetadataStore`] must do.
