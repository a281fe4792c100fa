//! The course of one request: to an instance, back, and where that fails to another.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use http::{HeaderValue, Response, StatusCode, request, response};
use hyper::upgrade::OnUpgrade;
use runner_core::spec::Protocol;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    body::ForwardBody,
    connect::Connect,
    connection::{Answer, AnswerBody, Connection},
    counters::Replay,
    fault::{self, Fault},
    head::{self, Noted, Upgrade, Way},
    instances::Instance,
    outgoing::{Outgoing, Record, Unanswered},
    retry::{self, Failed, Next},
    settings::{Failure, TimeLimits},
    shared::Shared,
    tunnel,
};
use crate::{
    exchange::{ClientConnection, FromInside, RequestId, ServedBy},
    pool::Assignment,
    queue::{RequestHead, Return},
    told::{Form, REQUEST_ID},
};

/// In one piece of memory for all that a request needs on its way: what is around it may then be
/// moved without it.
pub(super) type BoxCourse = Pin<Box<dyn Future<Output = Response<ForwardBody>> + Send>>;

/// Takes a request to its instance, and gives its response or our own.
pub(super) fn start<C: Connect>(
    shared: &Arc<Shared<C>>,
    mut parts: request::Parts,
    body: Outgoing,
) -> BoxCourse {
    let name = parts.extensions.remove::<RequestId>().map(|RequestId(name)| name);
    let turned_away = |fault, form| {
        let response = turn_away(shared, fault, form, name.as_ref());
        Box::pin(std::future::ready(response))
    };
    let Some(assignment) = parts.extensions.remove::<Assignment>() else {
        return turned_away(Fault::NotAssigned, Form::of(&parts.method, &parts.headers));
    };
    let way = Way {
        trust: &shared.settings.trust,
        client: parts.extensions.get::<ClientConnection>().copied(),
        from_inside: parts.extensions.get::<FromInside>().is_some(),
        id: name.as_ref(),
        new_id: &|| shared.new_name(),
    };
    let noted = match head::rewrite_request(&mut parts, &way) {
        Ok(noted) => noted,
        Err((fault, form)) => return turned_away(fault, form),
    };
    if matches!(noted.upgrade, Upgrade::Tunnel) && !shared.settings.allows_connect {
        return turned_away(Fault::ConnectNotAllowed, noted.form);
    }
    shared.budget.deposit();
    let is_repeatable = parts.method.is_idempotent() && !noted.upgrade.is_wanted();
    let (body, record) = match is_repeatable && !body.is_empty() {
        true => body.recorded(),
        false => (body, None),
    };
    let began = Instant::now();
    let mut limits = shared.limits();
    if let Some(own) = noted.timeout {
        limits.total = Some(limits.total.map_or(own, |total| total.min(own)));
    }
    let mut course = Course {
        shared: Arc::clone(shared),
        limits,
        arrived: began - assignment.waited,
        assignment,
        began,
        noted,
        is_repeatable: is_repeatable && (body.is_empty() || record.is_some()),
        record,
        parts,
        attempts: 0,
    };
    Box::pin(async move { course.run(body).await })
}

/// Where a request is on its way.
struct Course<C> {
    shared: Arc<Shared<C>>,
    /// As they were when it came: a change is for those who come after it. The total is no longer
    /// than its client waits.
    limits: TimeLimits,
    assignment: Assignment,
    /// When it arrived, before it waited.
    arrived: Instant,
    began: Instant,
    noted: Noted,
    parts: request::Parts,
    /// What was read of a body that may be sent twice.
    record: Option<Record>,
    /// Whether the request may be sent twice, if its body is in hand.
    is_repeatable: bool,
    /// How many instances were tried, this one included.
    attempts: u32,
}

/// Why there is no response of an instance.
enum Ended {
    Fault(Fault),
    /// The queue did not take it back.
    Refused(Response<bytes::Bytes>),
}

/// A response that began.
struct Arrived {
    answer: Answer,
    instance: Arc<Instance>,
    at: Instant,
}

impl<C: Connect> Course<C> {
    async fn run(&mut self, body: Outgoing) -> Response<ForwardBody> {
        match self.follow(body).await {
            Ok(arrived) => self.finish(arrived),
            Err(Ended::Fault(fault)) => self.answer(fault),
            Err(Ended::Refused(refusal)) => refusal.map(ForwardBody::own),
        }
    }

    /// Tries until there is a response, or no reason to try again.
    async fn follow(&mut self, mut body: Outgoing) -> Result<Arrived, Ended> {
        let mut is_anew = false;
        let mut now = self.began;
        loop {
            let instance = self.shared.instances.of(&self.assignment);
            if matches!(self.noted.upgrade, Upgrade::Socket(_))
                && instance.protocol != Protocol::Http1
            {
                return Err(Ended::Fault(Fault::ProtocolNotSupported));
            }
            if self.noted.timeout.is_some() {
                self.say_time_left(now).map_err(Ended::Fault)?;
            }
            self.attempts += u32::from(!is_anew);
            let failed = match self.attempt(&instance, body, is_anew, now).await {
                Ok((answer, at)) => return Ok(Arrived { answer, instance, at }),
                Err(failed) => failed,
            };
            let next = Next::after(&failed, self.is_repeatable, is_anew, self.attempts);
            // That an idle connection was closed is no news about the instance.
            if !matches!(next, Next::Anew(_)) {
                instance.outcomes.handle_fault(failed.fault);
            }
            let (Next::Anew(replay) | Next::Return(replay), Some(again)) =
                (next, failed.unsent.or_else(|| self.again()))
            else {
                return Err(Ended::Fault(self.last_word(failed.fault)));
            };
            if replay != Replay::Unwritten && !self.shared.budget.withdraw() {
                self.shared.counters.over_budget.fetch_add(1, Ordering::Relaxed);
                return Err(Ended::Fault(failed.fault));
            }
            self.shared.counters.handle_replay(replay);
            is_anew = matches!(next, Next::Anew(_));
            if !is_anew {
                Box::pin(self.come_back(replay)).await?;
                let is_same = self.assignment.instance == instance.id;
                if replay == Replay::Unreached && retry::is_to_pause(self.attempts, is_same) {
                    // With a pause before it, another try doubles no load.
                    self.shared.budget.give_back();
                    Box::pin(self.pause()).await?;
                }
            }
            body = again;
            now = Instant::now();
        }
    }

    /// One try at one instance.
    async fn attempt(
        &mut self,
        instance: &Arc<Instance>,
        body: Outgoing,
        is_anew: bool,
        mut sent: Instant,
    ) -> Result<(Answer, Instant), Failed> {
        let open = if is_anew { None } else { instance.take(sent) };
        let connection = match open {
            Some(connection) => connection,
            None => match Box::pin(self.open(instance, is_anew)).await {
                Ok(connection) => {
                    sent = Instant::now();
                    connection
                }
                Err(fault) => return Err(Failed { unsent: Some(body), fault, was_reused: false }),
            },
        };
        let was_reused = connection.is_reused();
        let asked =
            connection.ask(&instance.address, &self.parts, &self.noted, body, self.limit(sent));
        match asked.await {
            Ok(answer) => {
                let is_server_error = answer.parts.status.is_server_error();
                let now = Instant::now();
                instance.outcomes.handle_head(is_server_error, now - sent);
                Ok((answer, now))
            }
            Err(Unanswered { unsent, fault }) => Err(Failed { unsent, fault, was_reused }),
        }
    }

    /// Opens a connection to an instance.
    async fn open(&self, instance: &Arc<Instance>, is_anew: bool) -> Result<Connection, Fault> {
        let limit = Instant::now() + self.limits.connect;
        let end = self.end().map_or(limit, |end| end.min(limit));
        let opening = async {
            // One at a time where one is enough for many: who waited takes what was opened.
            let turn = instance.turn_to_open().await;
            if turn.is_some()
                && !is_anew
                && let Some(connection) = instance.take(Instant::now())
            {
                return Ok(connection);
            }
            let stream = self.shared.connect.connect(&instance.address).await;
            let stream = stream.map_err(|error| {
                tracing::debug!(target: "runner_proxy::forward", %error, "no connection");
                Fault::ConnectFailed
            })?;
            let connection =
                Connection::open(stream, instance.protocol, &self.shared.tasks).await?;
            self.shared.counters.opened.fetch_add(1, Ordering::Relaxed);
            Ok(instance.opened(connection))
        };
        match timeout_at(end, opening).await {
            Ok(opened) => opened,
            Err(_) if end < limit => Err(Fault::TotalTimedOut),
            Err(_) => Err(Fault::ConnectTimedOut),
        }
    }

    /// Until when the response to a request that is sent now has to begin, and what it is if it
    /// does not.
    fn limit(&self, sent: Instant) -> Option<(Instant, Fault)> {
        let total = self.end().map(|end| (end, Fault::TotalTimedOut));
        let head = self.limits.head.map(|head| (sent + head, Fault::HeadTimedOut));
        match (head, total) {
            (Some(head), Some(total)) if total.0 < head.0 => Some(total),
            (head, total) => head.or(total),
        }
    }

    /// Tells the instance how long its client still waits, where some of that is over.
    fn say_time_left(&mut self, now: Instant) -> Result<(), Fault> {
        let Some(whole) = self.noted.timeout else { return Ok(()) };
        if now == self.arrived && !whole.is_zero() {
            return Ok(());
        }
        let left = whole.saturating_sub(now.saturating_duration_since(self.arrived));
        if left.is_zero() {
            return Err(Fault::TotalTimedOut);
        }
        head::say_timeout(&mut self.parts.headers, left);
        Ok(())
    }

    /// When the time of this request is over.
    fn end(&self) -> Option<Instant> {
        self.limits.total.map(|total| self.arrived + total)
    }

    /// Gives the slot back and waits for another, at the head of the queue.
    async fn come_back(&mut self, replay: Replay) -> Result<(), Ended> {
        let why = Return {
            arrived: self.arrived,
            avoid: self.assignment.instance,
            within: (replay != Replay::Unreached).then_some(self.assignment.revision),
        };
        // The queue counts from its arrival, as the client does.
        if let Some(whole) = self.noted.timeout {
            head::say_timeout(&mut self.parts.headers, whole);
        }
        // By the name that it has, if it is refused.
        self.parts.headers.insert(REQUEST_ID, self.noted.origin.id.clone());
        let head = RequestHead::of_parts(&self.parts);
        let exchange = self.assignment.lease.exchange(&head, why);
        let exchanged = match self.end() {
            None => exchange.await,
            Some(end) => match timeout_at(end, exchange).await {
                Ok(exchanged) => exchanged,
                Err(_) => return Err(Ended::Fault(Fault::TotalTimedOut)),
            },
        };
        self.parts.headers.remove(REQUEST_ID);
        match exchanged {
            Some(Ok((target, waited))) => self.assignment.redirect(target, waited),
            Some(Err(refusal)) => return Err(Ended::Refused(refusal)),
            None => return Err(Ended::Fault(Fault::Stopping)),
        }
        Ok(())
    }

    /// Waits before another try at what was out of reach.
    async fn pause(&self) -> Result<(), Ended> {
        let until = Instant::now() + retry::pause(self.attempts);
        match self.end() {
            Some(end) if end < until => {
                sleep_until(end).await;
                Err(Ended::Fault(Fault::TotalTimedOut))
            }
            _ => {
                sleep_until(until).await;
                Ok(())
            }
        }
    }

    /// The body once more, if all of it is in hand.
    fn again(&self) -> Option<Outgoing> {
        match &self.record {
            _ if !self.is_repeatable => None,
            None => Some(Outgoing::empty()),
            Some(record) => record.again(),
        }
    }

    /// What the client is told, where the last try ended so.
    fn last_word(&self, fault: Fault) -> Fault {
        match fault {
            Fault::ConnectFailed if self.attempts > 1 => Fault::Unreachable,
            fault => fault,
        }
    }

    /// Makes the response of an instance ours.
    fn finish(&mut self, arrived: Arrived) -> Response<ForwardBody> {
        let Arrived { answer: Answer { mut parts, body }, instance, at } = arrived;
        head::rewrite_response(&mut parts);
        let is_switch = match &self.noted.upgrade {
            Upgrade::Socket(key) => match key.answer(&mut parts) {
                Ok(is_switch) => is_switch,
                Err(fault) => return self.answer(fault),
            },
            Upgrade::Tunnel if parts.status.is_success() => true,
            _ => parts.status == StatusCode::SWITCHING_PROTOCOLS,
        };
        let body = match is_switch {
            false => ForwardBody::of(body, instance, at, self.end()),
            true => match self.switch(body) {
                true => ForwardBody::none(),
                false => return self.answer(Fault::BadResponse),
            },
        };
        self.sign(&mut parts);
        Response::from_parts(parts, body)
    }

    /// The connection becomes another protocol's, under the lease of this request.
    fn switch(&mut self, body: AnswerBody) -> bool {
        let client = self.parts.extensions.remove::<OnUpgrade>();
        // Nobody asked for it, or nobody could: what would come is no answer to this request.
        let (Some(client), true, AnswerBody::Http1(instance)) =
            (client, self.noted.upgrade.is_wanted(), body)
        else {
            return false;
        };
        let idle = self.limits.upgraded_idle;
        let lease = self.assignment.lease.clone();
        lease.mark_upgraded();
        self.shared.counters.upgraded.fetch_add(1, Ordering::Relaxed);
        let ended = tunnel::Ended::new(Arc::clone(&self.shared), lease);
        let (instance, early) = instance.into_stream();
        self.shared.tasks.run(tunnel::run(client, instance, early, idle, ended))
    }

    /// Says who answered. The memory for that is the request's own, which nobody needs any more.
    fn sign(&mut self, parts: &mut response::Parts) {
        let Assignment { instance, revision, .. } = self.assignment;
        let mut extensions = std::mem::take(&mut self.parts.extensions);
        extensions.clear();
        extensions.insert(ServedBy { instance, revision, attempts: self.attempts });
        parts.extensions = extensions;
    }

    fn answer(&self, fault: Fault) -> Response<ForwardBody> {
        turn_away(&self.shared, fault, self.noted.form, Some(&self.noted.origin.id))
    }
}

/// Answers in the place of an instance.
fn turn_away<C>(
    shared: &Shared<C>,
    fault: Fault,
    form: Form,
    name: Option<&HeaderValue>,
) -> Response<ForwardBody> {
    shared.counters.handle_fault(fault);
    let response = match &shared.settings.answer {
        None => fault::answer(fault, form, name),
        Some(answer) => {
            let request_id = name.and_then(|name| name.to_str().ok());
            answer(&Failure { fault, request_id })
        }
    };
    response.map(ForwardBody::own)
}
