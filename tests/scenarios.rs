//! Runs every scenario of `tests/scenarios/` through the whole program.

mod support;

use std::fs;

use support::output;
use support::scenario::{BASE_ISNS, Scenario};

#[test]
fn the_program_agrees_with_every_scenario() {
    let scratch = tempfile::tempdir().unwrap();
    // A name to look for, so that one scenario can be run alone.
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let mut failures = Vec::new();
    let mut run = 0;
    for scenario in Scenario::load_all()
        .iter()
        .filter(|s| s.name.contains(&wanted))
    {
        run += 1;
        for base in BASE_ISNS {
            let name = scenario.name.replace('/', "-");
            let capture = scratch.path().join(format!("{name}-{base}.pcap"));
            let out = scratch.path().join(format!("{name}-{base}.out"));
            fs::write(&capture, scenario.to_pcap(base)).unwrap();
            let differences = match output::reassemble(&capture, &out, &scenario.args) {
                Ok(results) => scenario.differences(&results),
                Err(error) => vec![error],
            };
            if !differences.is_empty() {
                failures.push(format!(
                    "{} (ISN {base}): {}\n    {}",
                    scenario.name,
                    scenario.about,
                    differences.join("\n    ")
                ));
                // The other ISNs would say the same again in most cases.
                break;
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {run} scenarios failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
