//! The command `growth`.

use std::fs;

use super::args::{Format, GrowthArgs};
use super::commands::in_runtimes;
use super::{End, Trouble};
use crate::growth::{self, Plan, Row};
use crate::live::Progress;
use crate::scenario::Scenario;

/// The most partitions that servers allow.
const MAX_PARTITIONS: u16 = 16_384;

pub(super) fn growth(args: &GrowthArgs) -> Result<End, Trouble> {
    let plan = plan(args)?;
    let progress = Progress::stderr();
    let rows = in_runtimes(&progress, async |publishers| {
        Ok(growth::measure(&plan, publishers, &progress).await?)
    })?;
    let table = growth::table(&rows);
    let json = serde_json::to_string_pretty(&rows)?;
    if let Some(directory) = &args.report {
        let failed =
            |error| format!("--report: cannot write into {}: {error}", directory.display());
        fs::create_dir_all(directory).map_err(failed)?;
        fs::write(directory.join("growth.json"), &json).map_err(failed)?;
        fs::write(directory.join("growth.txt"), &table).map_err(failed)?;
    }
    match args.format {
        Format::Json => println!("{json}"),
        Format::Human => print!("{table}"),
    }
    Ok(if rows.iter().any(Row::has_faults) { End::Fail } else { End::Pass })
}

fn plan(args: &GrowthArgs) -> Result<Plan, Trouble> {
    let mut scenario = Scenario::load("growth")?;
    if args.instances.contains(&0) {
        return Err("--instances: each must be at least 1".into());
    }
    if args.partitions.iter().any(|count| !(1..=MAX_PARTITIONS).contains(count)) {
        return Err(format!("--partitions: each must be from 1 to {MAX_PARTITIONS}").into());
    }
    super::commands::scale(&mut scenario, args.connections, args.duration, args.rate)?;
    Ok(Plan { scenario, instances: args.instances.clone(), partitions: args.partitions.clone() })
}
