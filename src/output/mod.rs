//! Payload files, tables and the manifest.
