//! `flows.parquet` and `flows.csv`: one row per flow. Adding a column is one entry here.

use std::ops::Deref;

use crate::config::PayloadMode;
use crate::model::segment::first_frame;
use crate::model::{Direction, FlowRecord, SynFacts, Timestamp};
use crate::reassembly::event::FlowName;

use super::community_id::push_community_id;
use super::csv_table::CsvTableWriter;
use super::digests::Digest;
use super::directory::{FLOWS_CSV_FILE, FLOWS_FILE, OutputDir};
use super::error::OutputError;
use super::parquet_table::{FooterFacts, ParquetTable, TableSummary};
use super::payload_part::push_part_path;
use super::schema::{Cell, Column, count};
use super::stream_path::push_stream_path;
use super::text::{floor_micros, push_hex, push_ip};

/// The seed of the `community_id` column: 0, which every tool has as its default.
const COMMUNITY_ID_SEED: u16 = 0;

/// A flow with what was written of its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowRow {
    /// The flow.
    pub record: FlowRecord,
    /// The shard it belongs to, which is also the number of the part that holds its payload.
    pub shard: u8,
    /// Whether payload was written, by direction.
    pub written: [bool; 2],
    /// Digests of the payload, by direction.
    pub sha256: [Option<Box<Digest>>; 2],
}

/// Nearly every column is one of the flow's own facts.
impl Deref for FlowRow {
    type Target = FlowRecord;

    fn deref(&self) -> &FlowRecord {
        &self.record
    }
}

/// The columns, in order. `payload` decides what the path columns name.
pub fn flow_columns(payload: PayloadMode) -> Vec<Column<FlowRow>> {
    let mut columns = identity_columns();
    columns.extend(time_columns());
    columns.extend(state_columns());
    columns.extend(half_columns::<0>(payload));
    columns.extend(half_columns::<1>(payload));
    columns.extend(place_columns());
    columns
}

type FlowCell = Cell<FlowRow>;

fn identity_columns() -> Vec<Column<FlowRow>> {
    vec![
        Column::new("flow_id", FlowCell::I64(|r| count(r.flow_id))).delta(),
        Column::new(
            "community_id",
            FlowCell::Text(|r, out| push_community_id(out, &r.key, COMMUNITY_ID_SEED)),
        )
        .plain()
        .with_bloom_filter(),
        Column::new(
            "client_ip",
            FlowCell::Text(|r, out| push_ip(out, r.key.ip(r.client))),
        )
        .with_bloom_filter(),
        Column::new(
            "server_ip",
            FlowCell::Text(|r, out| push_ip(out, r.key.ip(r.client.other()))),
        )
        .with_bloom_filter(),
        Column::new("client_port", FlowCell::U16(|r| r.key.end(r.client).port)),
        Column::new(
            "server_port",
            FlowCell::U16(|r| r.key.end(r.client.other()).port),
        ),
        Column::new("ip_version", FlowCell::U8(|r| r.key.version())),
        Column::new("vlan", FlowCell::OptU16(|r| r.encapsulation.as_ref()?.vlan)),
        Column::new(
            "inner_vlan",
            FlowCell::OptU16(|r| r.encapsulation.as_ref()?.inner_vlan),
        ),
        Column::new(
            "tunnel",
            FlowCell::OptText(|r, out| {
                let text = r.encapsulation.as_ref().and_then(|e| e.tunnel_text());
                out.push_str(text.as_deref().unwrap_or_default());
                text.is_some()
            }),
        ),
        Column::new("client_by", FlowCell::Name(|r| r.client_by.name())),
        Column::new("midstream", FlowCell::Bool(|r| r.midstream)),
        Column::new(
            "tuple_seq",
            FlowCell::I32(|r| i32::try_from(r.tuple_seq).unwrap_or(i32::MAX)),
        ),
    ]
}

fn time_columns() -> Vec<Column<FlowRow>> {
    fn micros(time: Timestamp) -> Option<i64> {
        time.ns().map(floor_micros)
    }
    vec![
        Column::new("first_ts", FlowCell::OptTime(|r| micros(r.first_ts))).delta(),
        Column::new("last_ts", FlowCell::OptTime(|r| micros(r.last_ts))).delta(),
        Column::new("first_ts_ns", FlowCell::OptI64(|r| r.first_ts.ns())).delta(),
        Column::new("last_ts_ns", FlowCell::OptI64(|r| r.last_ts.ns())).delta(),
        Column::new(
            "duration_ns",
            FlowCell::OptI64(|r| r.last_ts.since(r.first_ts)),
        )
        .delta(),
        Column::new("syn_rtt_ns", FlowCell::OptI64(|r| r.syn_rtt_ns)),
        Column::new("ack_rtt_ns", FlowCell::OptI64(|r| r.ack_rtt_ns)),
    ]
}

fn state_columns() -> Vec<Column<FlowRow>> {
    vec![
        Column::new("conn_state", FlowCell::Name(|r| r.conn_state.name())),
        Column::new("history", FlowCell::Text(|r, out| out.push_str(&r.history))),
        Column::new("end_reason", FlowCell::Name(|r| r.end_reason.name())),
        Column::new("complete", FlowCell::Bool(|r| r.complete)),
    ]
}

/// The columns of one direction; `D` is its place in [`FlowRecord::halves`].
fn half_columns<const D: usize>(payload: PayloadMode) -> Vec<Column<FlowRow>> {
    fn syn<const D: usize>(record: &FlowRow) -> Option<&SynFacts> {
        record.halves[D].syn.as_ref()
    }
    let prefix = Direction::BOTH[D].name();
    let column = |name: &str, cell: FlowCell| Column::new(format!("{prefix}_{name}"), cell);
    let path = match payload {
        PayloadMode::Parquet => FlowCell::OptText(|r, out| {
            if r.written[D] {
                push_part_path(out, r.shard);
            }
            r.written[D]
        }),
        PayloadMode::Files | PayloadMode::None => FlowCell::OptText(push_path_if_written::<D>),
    };
    vec![
        column("packets", FlowCell::I64(|r| count(r.halves[D].packets))),
        column("ip_bytes", FlowCell::I64(|r| count(r.halves[D].ip_bytes))),
        column(
            "payload_bytes",
            FlowCell::I64(|r| count(r.halves[D].payload_bytes)),
        ),
        column(
            "stream_bytes",
            FlowCell::I64(|r| count(r.halves[D].stream_bytes)),
        ),
        column(
            "stream_span",
            FlowCell::I64(|r| count(r.halves[D].stream_span)),
        ),
        column(
            "gap_bytes",
            FlowCell::I64(|r| count(r.halves[D].trouble().gap_bytes)),
        ),
        column("gaps", FlowCell::I64(|r| count(r.halves[D].trouble().gaps))),
        column(
            "retrans_packets",
            FlowCell::I64(|r| count(r.halves[D].trouble().retrans_packets)),
        ),
        column(
            "retrans_bytes",
            FlowCell::I64(|r| count(r.halves[D].trouble().retrans_bytes)),
        ),
        column(
            "ooo_packets",
            FlowCell::I64(|r| count(r.halves[D].trouble().ooo_packets)),
        ),
        column(
            "dup_acks",
            FlowCell::I64(|r| count(r.halves[D].trouble().dup_acks)),
        ),
        column(
            "zero_windows",
            FlowCell::I64(|r| count(r.halves[D].trouble().zero_windows)),
        ),
        column(
            "keepalives",
            FlowCell::I64(|r| count(r.halves[D].trouble().keepalives)),
        ),
        column(
            "overlap_bytes",
            FlowCell::I64(|r| count(r.halves[D].trouble().overlap_bytes)),
        ),
        column(
            "conflict_bytes",
            FlowCell::I64(|r| count(r.halves[D].trouble().conflict_bytes)),
        ),
        column(
            "truncated_bytes",
            FlowCell::I64(|r| count(r.halves[D].trouble().truncated_bytes)),
        ),
        column(
            "rejected_bytes",
            FlowCell::I64(|r| count(r.halves[D].trouble().rejected_bytes)),
        ),
        column("isn", FlowCell::OptU32(|r| syn::<D>(r).map(|s| s.isn))).plain(),
        column("tcp_flags", FlowCell::U8(|r| r.halves[D].tcp_flags)),
        column(
            "mss",
            FlowCell::OptU16(|r| syn::<D>(r).and_then(|s| s.options.mss)),
        ),
        column(
            "wscale",
            FlowCell::OptU8(|r| syn::<D>(r).and_then(|s| s.options.wscale)),
        ),
        column(
            "sack_permitted",
            FlowCell::OptBool(|r| syn::<D>(r).map(|s| s.options.sack_permitted)),
        ),
        column("path", path).plain(),
        column(
            "sha256",
            FlowCell::OptText(|r, out| {
                if let Some(digest) = &r.sha256[D] {
                    push_hex(out, digest.as_slice());
                }
                r.sha256[D].is_some()
            }),
        )
        .plain(),
    ]
}

fn place_columns() -> Vec<Column<FlowRow>> {
    vec![
        // The flow's id is the number of its first frame; readers need not know that.
        Column::new(
            "first_frame",
            FlowCell::I64(|r| count(first_frame(r.flow_id))),
        )
        .delta(),
        Column::new("last_frame", FlowCell::I64(|r| count(r.last_frame))).delta(),
        Column::new("file_id", FlowCell::I32(|r| i32::from(r.file_id))),
    ]
}

fn push_path_if_written<const D: usize>(record: &FlowRow, out: &mut String) -> bool {
    if record.written[D] {
        let name = FlowName {
            flow_id: record.flow_id,
            key: record.key,
            client: record.client,
        };
        push_stream_path(out, &name, Direction::BOTH[D]);
    }
    record.written[D]
}

/// Writes `flows.parquet`.
pub struct FlowTableWriter(ParquetTable<FlowRow>);

impl FlowTableWriter {
    /// Begins the table in `dir`.
    pub fn create(
        dir: &OutputDir,
        payload: PayloadMode,
        footer: &FooterFacts,
    ) -> Result<Self, OutputError> {
        ParquetTable::create(dir, FLOWS_FILE, &flow_columns(payload), footer).map(Self)
    }

    /// Appends flows, in the order in which their rows are to stand. The file's bytes do not
    /// depend on how many come in one call.
    pub fn write(&mut self, flows: &[FlowRow]) -> Result<(), OutputError> {
        self.0.write(flows)
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<TableSummary, OutputError> {
        self.0.finish()
    }
}

/// Writes `flows.csv`.
pub struct FlowCsvWriter(CsvTableWriter<FlowRow>);

impl FlowCsvWriter {
    /// Begins the table in `dir`.
    pub fn create(dir: &OutputDir, payload: PayloadMode) -> Result<Self, OutputError> {
        CsvTableWriter::create(dir, FLOWS_CSV_FILE, flow_columns(payload)).map(Self)
    }

    /// Appends flows, in the order in which their rows are to stand.
    pub fn write(&mut self, flows: &[FlowRow]) -> Result<(), OutputError> {
        self.0.write(flows)
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<TableSummary, OutputError> {
        self.0.finish()
    }
}
