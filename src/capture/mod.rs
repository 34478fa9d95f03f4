//! Frame sources: capture bytes in, [`RawFrame`](crate::model::RawFrame)s out.
