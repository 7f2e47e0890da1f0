//! The life of a document.
