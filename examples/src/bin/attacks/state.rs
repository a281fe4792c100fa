//! How the platform is before it all and after: memory, files and slots.

use std::time::Duration;

use runner_examples::words::count;
use tokio::time::{Instant, interval};

use crate::{
    bed::{Bed, Control, PATIENCE, Sad},
    rows::{Row, Verdict},
    target::{files_of, status_of},
};

const GROUP: &str = "beside it all";

/// What the platform has at one moment.
#[derive(Clone, Copy)]
pub(crate) struct State {
    kibibytes: u64,
    files: usize,
}

impl State {
    /// Looked at when nobody attacks.
    pub(crate) async fn at_rest(bed: &Bed, control: &mut Control) -> Result<Self, Sad> {
        let (began, mut beat) = (Instant::now(), interval(Duration::from_millis(100)));
        // Clients that mean well go on: what they have under way is little.
        while under_way(control).await? > FEW && began.elapsed() < PATIENCE {
            beat.tick().await;
        }
        let kibibytes = status_of(bed.pid, "VmRSS").ok_or("the platform has ended")?;
        Ok(Self { kibibytes, files: files_of(bed.pid) })
    }

    /// What came of it since.
    pub(crate) async fn rows(
        self,
        bed: &Bed,
        control: &mut Control,
    ) -> Result<(Vec<Row>, f64), Sad> {
        let after = Self::at_rest(bed, control).await?;
        let left = under_way(control).await?;
        let growth = (after.kibibytes as f64 - self.kibibytes as f64) / 1024.0;
        let row = |name: &str, heard: String, verdict| Row {
            group: GROUP,
            name: name.into(),
            sent: "all attempts".into(),
            heard,
            seen: "nothing".into(),
            verdict,
        };
        let memory = format!("{:.1} MiB, {growth:+.1}", after.kibibytes as f64 / 1024.0);
        let files = format!("{} files, {} before", after.files, self.files);
        let rows = vec![
            row(
                "memory of the platform",
                memory,
                Verdict::held_if(growth <= MOST_GROWTH, "it grows"),
            ),
            row(
                "slots that are left taken",
                count(left, "request"),
                Verdict::held_if(left <= FEW, "slots are lost"),
            ),
            row(
                "files that are left open",
                files,
                Verdict::held_if(after.files <= self.files + IDLE, "files are left open"),
            ),
        ];
        for row in &rows {
            println!("{}", row.line());
        }
        Ok((rows, growth))
    }
}

/// Requests that hold a slot or wait for one, of all services.
async fn under_way(control: &mut Control) -> Result<u64, Sad> {
    let told = control.order("tell").await?;
    let services = told["services"].as_array().ok_or("it tells of no services")?;
    let number = |service: &serde_json::Value, name: &str| service[name].as_u64().unwrap_or(0);
    Ok(services.iter().map(|one| number(one, "in_flight") + number(one, "waiting")).sum())
}

/// In MiB: what an allocator keeps of what it had, and no more.
pub(crate) const MOST_GROWTH: f64 = 16.0;
/// Requests of clients that mean well.
const FEW: u64 = 4;
/// Connections to instances that are kept for the next request.
const IDLE: usize = 256;
