//! A backend of one's own in a page: instances are tasks of this very program. The conformance kit
//! holds it to what every backend promises.
//!
//! `cargo run --release -p runner-examples --bin custom_backend`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program, not a library")]

use futures_util::stream::unfold;
use runner_core::backend::{
    Capabilities, Condition, ContainerBackend, Exit, ExitStatus, Fence, ForeignInstance, Hint,
    ListedInstance, Listing, StartRequest, Started,
};
use runner_core::id::{Epoch, InstanceId, PlatformId};
use runner_core::testing::kit::{Act, BackendKit, KitClock};
use runner_core::{BoxFuture, BoxStream, Error, address::Address, error::ErrorKind};
use runner_core::{testing::kit::NotConforming, time::Timestamp};
use std::{collections::BTreeMap, sync::Arc, time::Duration, time::SystemTime};
use tokio::{sync::watch, time::timeout};

/// The engine: it outlives the handles to it. What was stopped before it started is there as ended.
#[derive(Clone, Default)]
#[expect(clippy::disallowed_types, reason = "guards the table for a look, never over an await")]
struct Tasks(Arc<std::sync::Mutex<BTreeMap<(PlatformId, InstanceId), Task>>>, watch::Sender<()>);
type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// Who started it, whether it was asked to end, and how it ended.
#[derive(Clone)]
struct Task(Epoch, watch::Sender<bool>, watch::Sender<Option<ExitStatus>>);

impl Tasks {
    /// The task of that id, or the one given.
    fn task(&self, fence: Fence, id: InstanceId, end: Option<ExitStatus>) -> (Task, bool) {
        let new = Task(fence.epoch, watch::Sender::new(false), watch::Sender::new(end));
        let mut table = self.0.lock().expect("nobody panics");
        let task = table.entry((fence.platform, id)).or_insert_with(|| new.clone()).clone();
        (task.clone(), task.2.same_channel(&new.2))
    }
    fn begin(&self, fence: Fence, request: &StartRequest) -> Result<Started, Error> {
        let code = match (request.command[0].as_str(), request.command.get(1)) {
            ("exit", Some(code)) => code.parse().ok(),
            ("serve" | "ignore", None) => None,
            _ => return Err(Error::not_found("there is no such task; serve, exit or ignore")),
        };
        let (Task(_, asked, ended), is_new) = self.task(fence, request.instance, None);
        if *asked.borrow() {
            return Err(Error::new(ErrorKind::Conflict, "it was stopped; start another"));
        }
        let (ignores, hints) = (request.command[0] == "ignore", self.1.clone());
        let work = async move {
            let (mut asked, mut killed) = (asked.subscribe(), ended.subscribe());
            tokio::select! {
                () = std::future::ready(()), if code.is_some() => {}
                _ = asked.wait_for(|asked| *asked), if !ignores => {}
                _ = killed.wait_for(Option::is_some) => {}
            }
            let end = ended.borrow().unwrap_or(ExitStatus::Code(code.unwrap_or(0)));
            ended.send_replace(Some(end));
            hints.send_replace(());
        };
        is_new.then(|| tokio::spawn(work));
        Ok(Started::at(address(fence.platform, request.instance)))
    }
}

impl ContainerBackend for Tasks {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    fn start(&self, fence: Fence, request: StartRequest) -> Answer<'_, Started> {
        Box::pin(async move { self.begin(fence, &request) })
    }
    fn stop(&self, fence: Fence, id: InstanceId, grace: Duration) -> Answer<'_, Exit> {
        Box::pin(async move {
            let (Task(_, asked, ended), _) = self.task(fence, id, Some(ExitStatus::Unknown));
            asked.send_replace(true);
            if timeout(grace, ended.subscribe().wait_for(Option::is_some)).await.is_err() {
                ended.send_replace(Some(ExitStatus::Signal(9)));
            }
            Ok(ended.borrow().map_or_else(Exit::unknown, Exit::from))
        })
    }
    fn list(&self, fence: Fence) -> Answer<'_, Listing> {
        let (mut own, mut foreign) = (Vec::new(), Vec::new());
        for ((platform, id), Task(epoch, _, ended)) in &*self.0.lock().expect("nobody panics") {
            let end = ended.borrow().map(|end| Condition::Ended(end.into()));
            let (at, condition) = (address(*platform, *id), end.unwrap_or(Condition::Running));
            if *platform == fence.platform {
                let (instance, epoch, address) = (*id, *epoch, Some(at));
                own.push(ListedInstance { instance, epoch, address, condition });
            } else if condition == Condition::Running {
                let (platform, engine_name) = (Some(*platform), at.to_string());
                foreign.push(ForeignInstance { platform, engine_name });
            }
        }
        Box::pin(std::future::ready(Ok(Listing::of(own).with_foreign(foreign))))
    }
    fn watch(&self, _: Fence) -> BoxStream<'_, Hint> {
        Box::pin(unfold(self.1.subscribe(), async |mut changes: watch::Receiver<()>| {
            changes.changed().await.ok().map(|()| (Hint::Changed, changes))
        }))
    }
}

fn address(platform: PlatformId, id: InstanceId) -> Address {
    Address::Memory(format!("{platform}/{id}").into())
}

struct RealTime;
impl KitClock for RealTime {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

fn program(instance: InstanceId, act: &Act) -> Option<StartRequest> {
    let command = match act {
        Act::Serve => vec!["serve".to_owned()],
        Act::Exit(code) => vec!["exit".to_owned(), code.to_string()],
        Act::IgnoreStop => vec!["ignore".to_owned()],
        Act::Missing => vec!["missing".to_owned()],
        _ => return None,
    };
    Some(StartRequest::command(instance, command))
}

#[tokio::main]
async fn main() -> Result<(), NotConforming> {
    runner_examples::begin("custom_backend", "a backend of one's own, held to the contract");
    let tasks = Tasks::default();
    let open = move || Ok(Arc::new(tasks.clone()) as Arc<dyn ContainerBackend>);
    let kit = BackendKit::new("tasks", RealTime, open, program).settle(Duration::from_millis(20));
    println!("{}", kit.run().await.into_result()?);
    Ok(())
}
