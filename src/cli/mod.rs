//! Arguments as typed, turned into a validated configuration; progress; the final table.
