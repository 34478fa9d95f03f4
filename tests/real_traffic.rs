//! Reassembles traffic of real stacks and programs, and compares with the files that were sent.
mod support;
