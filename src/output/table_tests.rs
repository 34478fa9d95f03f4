//! The tables, written and read back by the library that other readers are built on as well.

use std::fs::{self, File};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::directory::{FLOWS_CSV_FILE, FLOWS_FILE, GAPS_FILE};
use super::flow_table::flow_columns;
use super::gaps_table::gap_columns;
use super::parquet_table::ROW_GROUP_ROWS;
use super::schema::arrow_schema;
use super::{FlowCsvWriter, FlowRow, FlowTableWriter, FooterFacts, GapTableWriter, OutputDir};
use crate::config::PayloadMode;
use crate::model::{
    ClientBy, ConnState, Direction, Encapsulation, EndReason, Endpoint, FlowKey, FlowRecord, Gap,
    GapCause, HalfRecord, SynFacts, SynOptions, Timestamp, Trouble, Tunnel,
};

/// The tables as published: names, types, `?` for nullable.
const FLOW_COLUMNS: &str = "flow_id Int64, community_id Utf8, client_ip Utf8, server_ip Utf8, \
client_port UInt16, server_port UInt16, ip_version UInt8, vlan UInt16?, inner_vlan UInt16?, \
tunnel Utf8?, client_by Dict, midstream Boolean, tuple_seq Int32, first_ts Time?, last_ts Time?, \
first_ts_ns Int64?, last_ts_ns Int64?, duration_ns Int64?, syn_rtt_ns Int64?, ack_rtt_ns Int64?, \
conn_state Dict, history Utf8, end_reason Dict, complete Boolean, \
c2s_packets Int64, c2s_ip_bytes Int64, c2s_payload_bytes Int64, c2s_stream_bytes Int64, \
c2s_stream_span Int64, c2s_gap_bytes Int64, c2s_gaps Int64, c2s_retrans_packets Int64, \
c2s_retrans_bytes Int64, c2s_ooo_packets Int64, c2s_dup_acks Int64, c2s_zero_windows Int64, \
c2s_keepalives Int64, c2s_overlap_bytes Int64, c2s_conflict_bytes Int64, \
c2s_truncated_bytes Int64, c2s_rejected_bytes Int64, c2s_isn UInt32?, c2s_tcp_flags UInt8, \
c2s_mss UInt16?, c2s_wscale UInt8?, c2s_sack_permitted Boolean?, c2s_path Utf8?, c2s_sha256 Utf8?, \
s2c_packets Int64, s2c_ip_bytes Int64, s2c_payload_bytes Int64, s2c_stream_bytes Int64, \
s2c_stream_span Int64, s2c_gap_bytes Int64, s2c_gaps Int64, s2c_retrans_packets Int64, \
s2c_retrans_bytes Int64, s2c_ooo_packets Int64, s2c_dup_acks Int64, s2c_zero_windows Int64, \
s2c_keepalives Int64, s2c_overlap_bytes Int64, s2c_conflict_bytes Int64, \
s2c_truncated_bytes Int64, s2c_rejected_bytes Int64, s2c_isn UInt32?, s2c_tcp_flags UInt8, \
s2c_mss UInt16?, s2c_wscale UInt8?, s2c_sack_permitted Boolean?, s2c_path Utf8?, s2c_sha256 Utf8?, \
first_frame Int64, last_frame Int64, file_id Int32";

const GAP_COLUMNS: &str = "flow_id Int64, direction Dict, stream_offset Int64, length Int64, \
cause Dict, elided Boolean";

fn described(schema: &arrow_schema::Schema) -> String {
    use arrow_schema::{DataType, TimeUnit};
    let fields: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
                    "Time".to_owned()
                }
                DataType::Dictionary(k, v)
                    if (&**k, &**v) == (&DataType::Int8, &DataType::Utf8) =>
                {
                    "Dict".to_owned()
                }
                other => other.to_string(),
            };
            let mark = if field.is_nullable() { "?" } else { "" };
            format!("{} {data_type}{mark}", field.name())
        })
        .collect();
    fields.join(", ")
}

#[test]
fn columns_are_as_published() {
    for mode in [PayloadMode::Files, PayloadMode::Parquet, PayloadMode::None] {
        assert_eq!(described(&arrow_schema(&flow_columns(mode))), FLOW_COLUMNS);
    }
    assert_eq!(described(&arrow_schema(&gap_columns())), GAP_COLUMNS);
}

fn record(flow_id: u64) -> FlowRow {
    FlowRow {
        record: flow(flow_id),
        shard: 7,
        written: [true, false],
        sha256: [Some(Box::new([0xab; 32])), None],
    }
}

fn flow(flow_id: u64) -> FlowRecord {
    let low = u8::try_from(flow_id % 200).unwrap();
    let (key, client) = FlowKey::v4(
        Endpoint::v4([192, 168, 1, low], 40_000),
        Endpoint::v4([10, 0, 0, 1], 443),
    );
    let syn = SynFacts {
        isn: u32::MAX,
        options: SynOptions {
            mss: Some(1460),
            wscale: Some(7),
            sack_permitted: true,
        },
    };
    FlowRecord {
        flow_id,
        key,
        client,
        client_by: ClientBy::Syn,
        encapsulation: None,
        midstream: false,
        tuple_seq: 1,
        first_ts: Timestamp::from_ns(1_159_533_296_123_456_789),
        last_ts: Timestamp::from_ns(1_159_533_297_000_000_001),
        syn_rtt_ns: Some(1_000),
        ack_rtt_ns: None,
        conn_state: ConnState::Sf,
        history: "ShADadFf".to_owned(),
        end_reason: EndReason::Fin,
        complete: true,
        halves: [
            HalfRecord {
                packets: flow_id,
                stream_bytes: 5,
                tcp_flags: 0x1b,
                syn: Some(syn),
                ..HalfRecord::default()
            },
            HalfRecord {
                packets: u64::MAX,
                trouble: Some(Box::new(Trouble {
                    truncated_bytes: 3,
                    rejected_bytes: 4,
                    ..Trouble::default()
                })),
                ..HalfRecord::default()
            },
        ],
        last_frame: flow_id + 9,
        file_id: 3,
    }
}

/// A flow of which little is known.
fn sparse_record(flow_id: u64) -> FlowRow {
    let (key, client) = FlowKey::v6(Endpoint::v6([0xfe; 16], 1), Endpoint::v6([0; 16], 2));
    let record = FlowRecord {
        key,
        client,
        encapsulation: Some(Box::new(Encapsulation {
            vlan: Some(5),
            inner_vlan: None,
            tunnels: vec![Tunnel::Gre(None), Tunnel::Vxlan(9)],
        })),
        client_by: ClientBy::FirstFrame,
        midstream: true,
        first_ts: Timestamp::NONE,
        last_ts: Timestamp::NONE,
        history: String::new(),
        halves: Default::default(),
        complete: false,
        ..flow(flow_id)
    };
    FlowRow {
        record,
        shard: 63,
        written: [false; 2],
        sha256: [None, None],
    }
}

fn footer() -> FooterFacts {
    FooterFacts {
        config_json: r#"{"max_gap":16}"#.to_owned(),
    }
}

fn write_flows(base: &Path, mode: PayloadMode, calls: &[&[FlowRow]]) -> Vec<u8> {
    let dir = OutputDir::create(base, true).unwrap();
    let mut table = FlowTableWriter::create(&dir, mode, &footer()).unwrap();
    for rows in calls {
        table.write(rows).unwrap();
    }
    assert!(!base.join(FLOWS_FILE).exists());
    let summary = table.finish().unwrap();
    let bytes = fs::read(base.join(FLOWS_FILE)).unwrap();
    assert_eq!(
        summary.rows,
        calls.iter().map(|c| c.len() as u64).sum::<u64>()
    );
    assert_eq!(summary.bytes, bytes.len() as u64);
    bytes
}

fn read(path: &Path) -> (arrow_schema::SchemaRef, Vec<RecordBatch>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let schema = reader.schema();
    (schema, reader.map(Result::unwrap).collect())
}

#[test]
fn flows_read_back_as_written() {
    let base = tempfile::tempdir().unwrap();
    write_flows(
        base.path(),
        PayloadMode::Files,
        &[&[record(7), sparse_record(8)]],
    );
    let (schema, batches) = read(&base.path().join(FLOWS_FILE));
    assert_eq!(described(&schema), FLOW_COLUMNS);
    let [batch] = &batches[..] else {
        panic!("one batch")
    };
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let i64s = |name: &str| column(name).as_primitive::<Int64Type>().clone();
    let text = |name: &str, row| column(name).as_string::<i32>().value(row).to_owned();
    assert_eq!(i64s("flow_id").values(), &[7, 8]);
    assert_eq!(i64s("s2c_packets").values(), &[i64::MAX, 0]);
    assert_eq!(i64s("s2c_truncated_bytes").values(), &[3, 0]);
    assert_eq!(i64s("s2c_rejected_bytes").values(), &[4, 0]);
    assert_eq!(i64s("c2s_rejected_bytes").values(), &[0, 0]);
    assert_eq!(i64s("first_ts_ns").value(0), 1_159_533_296_123_456_789);
    assert_eq!(i64s("duration_ns").value(0), 876_543_212);
    let times = column("first_ts").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), 1_159_533_296_123_456);
    assert_eq!(
        column("c2s_isn").as_primitive::<UInt32Type>().value(0),
        u32::MAX
    );
    assert_eq!(
        column("file_id").as_primitive::<Int32Type>().values(),
        &[3, 3]
    );
    assert_eq!(text("client_ip", 0), "192.168.1.7");
    assert_eq!(text("server_ip", 1), "::");
    assert_eq!(text("tunnel", 1), "gre,vxlan:9");
    assert_eq!(
        text("c2s_path", 0),
        "streams/00000/7-192.168.1.7.40000-10.0.0.1.443.c2s"
    );
    assert_eq!(text("c2s_sha256", 0), "ab".repeat(32));
    assert!(column("c2s_sack_permitted").as_boolean().value(0));
    let names = column("client_by").as_dictionary::<Int8Type>();
    let names = names.downcast_dict::<arrow_array::StringArray>().unwrap();
    assert_eq!(
        names.into_iter().flatten().collect::<Vec<_>>(),
        ["syn", "first_frame"]
    );
    let null_in = |row| -> Vec<&str> {
        let fields = schema.fields().iter().zip(batch.columns());
        fields
            .filter(|(_, c)| c.is_null(row))
            .map(|(f, _)| f.name().as_str())
            .collect()
    };
    assert_eq!(
        null_in(0),
        [
            "vlan",
            "inner_vlan",
            "tunnel",
            "ack_rtt_ns",
            "s2c_isn",
            "s2c_mss",
            "s2c_wscale",
            "s2c_sack_permitted",
            "s2c_path",
            "s2c_sha256"
        ]
    );
    assert_eq!(
        null_in(1)[..7],
        [
            "inner_vlan",
            "first_ts",
            "last_ts",
            "first_ts_ns",
            "last_ts_ns",
            "duration_ns",
            "ack_rtt_ns"
        ]
    );
}

#[test]
fn the_path_is_that_of_the_part_or_null_where_nothing_is_written() {
    let base = tempfile::tempdir().unwrap();
    write_flows(base.path(), PayloadMode::Parquet, &[&[record(7)]]);
    let (_, batches) = read(&base.path().join(FLOWS_FILE));
    let paths = ["c2s_path", "s2c_path"].map(|name| batches[0].column_by_name(name).unwrap());
    assert_eq!(
        paths[0].as_string::<i32>().value(0),
        "payload/part-07.parquet"
    );
    assert!(paths[1].is_null(0));
}

#[test]
fn bytes_depend_on_rows_alone() {
    let rows: Vec<FlowRow> = (1..=ROW_GROUP_ROWS as u64 + 5_000)
        .map(|i| {
            if i % 3 == 0 {
                sparse_record(i)
            } else {
                record(i)
            }
        })
        .collect();
    let base = tempfile::tempdir().unwrap();
    let whole = write_flows(base.path(), PayloadMode::Files, &[&rows]);
    let mut calls: Vec<&[FlowRow]> = vec![&rows[..0], &rows[..1], &rows[1..100]];
    calls.extend(rows[100..].chunks(7_777));
    let single = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let pieces = single.install(|| write_flows(base.path(), PayloadMode::Files, &calls));
    assert!(whole == pieces, "the bytes of the file differ");

    let reader = SerializedFileReader::new(File::open(base.path().join(FLOWS_FILE)).unwrap());
    let reader = reader.unwrap();
    let metadata = reader.metadata();
    let groups: Vec<i64> = metadata
        .row_groups()
        .iter()
        .map(RowGroupMetaData::num_rows)
        .collect();
    assert_eq!(groups, [122_880, 5_000]);
    for (index, column) in metadata.row_group(0).columns().iter().enumerate() {
        let path = column.column_path().string();
        assert!(
            column.column_index_offset().is_some(),
            "{path} has no page index"
        );
        let bloom = ["community_id", "client_ip", "server_ip"].contains(&&*path);
        assert_eq!(
            column.bloom_filter_offset().is_some(),
            bloom,
            "{path} {index}"
        );
    }
    let footer: Vec<(&str, &str)> = metadata
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .filter(|pair| pair.key.starts_with("bulkreasm."))
        .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap()))
        .collect();
    assert_eq!(
        footer,
        [
            ("bulkreasm.schema_version", "1"),
            ("bulkreasm.version", env!("CARGO_PKG_VERSION")),
            ("bulkreasm.config", r#"{"max_gap":16}"#),
        ]
    );
}

#[test]
fn a_small_table_is_a_small_file() {
    let base = tempfile::tempdir().unwrap();
    let empty = write_flows(base.path(), PayloadMode::Files, &[]);
    let (schema, batches) = read(&base.path().join(FLOWS_FILE));
    assert_eq!(described(&schema), FLOW_COLUMNS);
    assert!(batches.is_empty());
    let one = write_flows(base.path(), PayloadMode::Files, &[&[record(1)]]);
    assert!(empty.len() < 32 << 10, "{} bytes", empty.len());
    assert!(one.len() < 64 << 10, "{} bytes", one.len());
}

#[test]
fn gaps_read_back_as_written() {
    let base = tempfile::tempdir().unwrap();
    let dir = OutputDir::create(base.path(), false).unwrap();
    let mut table = GapTableWriter::create(&dir, &footer()).unwrap();
    let gap = |direction, cause, elided| Gap {
        flow_id: 3,
        direction,
        offset: 5 << 32,
        length: 9,
        cause,
        elided,
    };
    let gaps = GapCause::ALL.map(|cause| gap(Direction::S2c, cause, false));
    table.write(&gaps).unwrap();
    table
        .write(&[gap(Direction::C2s, GapCause::Lost, true)])
        .unwrap();
    assert_eq!(table.finish().unwrap().rows, 6);
    let (schema, batches) = read(&base.path().join(GAPS_FILE));
    assert_eq!(described(&schema), GAP_COLUMNS);
    let names = |name: &str| -> Vec<String> {
        let column = batches[0]
            .column_by_name(name)
            .unwrap()
            .as_dictionary::<Int8Type>();
        let values = column.downcast_dict::<arrow_array::StringArray>().unwrap();
        values.into_iter().flatten().map(str::to_owned).collect()
    };
    let mut causes = GapCause::ALL.map(GapCause::name).to_vec();
    causes.push("lost");
    assert_eq!(names("cause"), causes);
    assert_eq!(
        names("direction"),
        ["s2c", "s2c", "s2c", "s2c", "s2c", "c2s"]
    );
    let offsets = batches[0].column_by_name("stream_offset").unwrap();
    assert_eq!(offsets.as_primitive::<Int64Type>().value(0), 5 << 32);
    assert!(
        batches[0]
            .column_by_name("elided")
            .unwrap()
            .as_boolean()
            .value(5)
    );
}

#[test]
fn csv_is_the_same_table() {
    let base = tempfile::tempdir().unwrap();
    let dir = OutputDir::create(base.path(), false).unwrap();
    let mut table = FlowCsvWriter::create(&dir, PayloadMode::Files).unwrap();
    table.write(&[record(7), sparse_record(8)]).unwrap();
    let summary = table.finish().unwrap();
    let bytes = fs::read(base.path().join(FLOWS_CSV_FILE)).unwrap();
    assert_eq!((summary.rows, summary.bytes), (2, bytes.len() as u64));
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let expected: Vec<String> = flow_columns(PayloadMode::Files)
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert_eq!(names, expected);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| {
        rows[row]
            .get(names.iter().position(|n| n == name).unwrap())
            .unwrap()
            .to_owned()
    };
    assert_eq!(cell(0, "first_ts"), "2006-09-29T12:34:56.123456Z");
    assert_eq!(cell(0, "complete"), "true");
    assert_eq!(cell(0, "ack_rtt_ns"), "");
    assert_eq!(cell(1, "first_ts"), "");
    assert_eq!(cell(1, "tunnel"), "gre,vxlan:9");
    assert_eq!(cell(1, "client_by"), "first_frame");
}
