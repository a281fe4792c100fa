//! Who may begin to wait, who may go on, and what the others are told.

use std::time::Duration;

use super::super::{
    Ask, Attainable, Closed, Pin, Reason, Refusal, Why,
    forecast::{Forecast, Supply},
    queue::Standing,
};
use super::{Decision, Ledger, Woken};
use crate::time::Timestamp;

impl<W> Ledger<W> {
    /// Whether it is certain without a forecast that there is room for a newcomer and that its wait
    /// fits: who has any slot to wait for, and would be served by the present ones in half its time
    /// though it came last of all. Other supplies, classes and keys only bring it forward; the
    /// half is for the rounding of a forecast.
    #[inline]
    pub(super) fn surely_fits(&self, pin: Pin, left: Duration) -> bool {
        let (waiting, slots) = (self.queue.waiting(), self.slots.total());
        pin == Pin::Any
            && slots > 0
            && waiting < self.settings.max_waiting
            && self.snapshot.closed.is_none()
            && self.pace.serves_within(u64::from(waiting) + 1, slots, left)
    }

    /// Finds room for a newcomer, and who lost its place to it; or refuses it.
    #[inline(never)]
    pub(super) fn find_room(
        &mut self,
        ask: &Ask,
        pin: Pin,
        left: Duration,
        now: Timestamp,
    ) -> Result<Option<W>, Box<Refusal>> {
        let supply = self.supply(now);
        let forecast = self.forecast(ask, pin, &supply, Supply::serves);
        let surely = self.forecast(ask, pin, &supply, Supply::surely_serves);
        (self.may_wait(surely, left, &supply))
            .and_then(|()| self.make_room(ask, &supply))
            .map_err(|reason| Box::new(self.refuse(reason, forecast, left, &supply)))
    }

    /// Makes room for a newcomer in a full queue, if it is owed some.
    fn make_room(&mut self, ask: &Ask, supply: &Supply) -> Result<Option<W>, Reason> {
        if self.queue.waiting() < self.settings.max_waiting {
            return Ok(None);
        }
        let displaced = match self.settings.max_waiting {
            0 => None,
            _ => self.queue.displaced_by(ask.priority, ask.key, &self.settings),
        };
        let ticket = displaced.ok_or(Reason::QueueFull)?;
        let loser = *self.queue.waiter(ticket).expect("it was just found");
        let forecast = self.forecast_return(&loser, supply);
        let refusal = self.refuse(Reason::QueueFull, forecast, loser.budget, supply);
        Ok(self.queue.dismiss(ticket, Decision::refused(refusal)))
    }

    /// Whether a request may begin to wait: something could serve it, and soon enough.
    fn may_wait(
        &self,
        forecast: Forecast,
        budget: Duration,
        supply: &Supply,
    ) -> Result<(), Reason> {
        match (self.snapshot.closed, forecast) {
            (Some(Closed::Draining), _) => Err(Reason::Draining),
            (Some(Closed::Paused), _) | (None, Forecast::Never(Why::Paused)) => Err(Reason::Paused),
            (None, Forecast::Never(_)) => Err(Reason::NoCapacityComing),
            (None, Forecast::After(_) | Forecast::Unknown)
                if !budget.is_zero() && supply.fits(forecast, budget) =>
            {
                Ok(())
            }
            (None, Forecast::After(_) | Forecast::Unknown) => Err(self.too_long()),
        }
    }

    /// When somebody who asks for this now would be served. `pin` is what of the ask's own can
    /// still be insisted on.
    fn forecast(
        &self,
        ask: &Ask,
        pin: Pin,
        supply: &Supply,
        serves: impl Fn(&Supply, u64) -> Forecast,
    ) -> Forecast {
        match pin {
            Pin::Any if ask.returned.is_some() => {
                serves(supply, self.queue.place_of_returned(ask.priority))
            }
            Pin::Any => serves(supply, self.queue.place_of(ask.priority, ask.key, &self.settings)),
            pin => self.forecast_pinned(pin, supply),
        }
    }

    /// When somebody who waits would be served, were it to go now and come anew.
    pub(super) fn forecast_return(&self, standing: &Standing, supply: &Supply) -> Forecast {
        self.forecast(&self.queue.ask_of(standing), standing.pin, supply, Supply::serves)
    }

    /// How fast the slots of one revision or instance come free is not counted apart, so who
    /// insists on them waits its time. Only if nothing could ever serve it is it told so.
    fn forecast_pinned(&self, pin: Pin, supply: &Supply) -> Forecast {
        match (self.slots.could_serve(pin), supply.coming()) {
            (true, _) | (false, None) => Forecast::Unknown,
            (false, Some(why)) => Forecast::Never(why),
        }
    }

    fn too_long(&self) -> Reason {
        match self.snapshot.attainable {
            Attainable::Nothing(Why::AtMaximum) => Reason::AtMaximum,
            Attainable::Nothing(_) | Attainable::Slots { .. } => Reason::WouldWaitTooLong,
        }
    }

    /// Refuses those whose wait no longer fits, or to whom nothing could come any more.
    pub(super) fn predict_anew(&mut self, now: Timestamp, woken: &mut Woken<W>) {
        if self.queue.waiting() == 0 {
            return;
        }
        let supply = self.supply(now);
        let paused = self.snapshot.closed == Some(Closed::Paused);
        let mut forecasts = Vec::new();
        let misfits = self.queue.sift(|waiter, place| {
            let forecast = self.forecast_of(waiter, place, &supply);
            let fits = !paused && supply.fits(forecast, waiter.deadline().until(now));
            if !fits {
                forecasts.push(forecast);
            }
            fits
        });
        for (ticket, own) in misfits.into_iter().zip(forecasts) {
            let waiter = *self.queue.waiter(ticket).expect("it was just sifted");
            let is_over = waiter.deadline() <= now;
            let reason = match own {
                _ if paused => Reason::Paused,
                // Its time is up, and only its timer has not said so yet: no forecast decided this.
                _ if is_over => Reason::WaitedTooLong,
                Forecast::Never(Why::Paused) => Reason::Paused,
                Forecast::Never(_) => Reason::NoCapacityComing,
                Forecast::After(_) | Forecast::Unknown => self.too_long(),
            };
            let forecast = self.forecast_return(&waiter, &supply);
            let budget = if is_over { waiter.budget } else { waiter.deadline().until(now) };
            let mut refusal = self.refuse(reason, forecast, budget, &supply);
            // It stood where it stood, and not behind all others as one would who came now.
            refusal.wait = match own {
                _ if is_over => Some(now.since(waiter.since)),
                Forecast::After(wait) => Some(wait),
                Forecast::Never(_) | Forecast::Unknown => None,
            };
            let dismissed = self.queue.dismiss(ticket, Decision::refused(refusal));
            woken.push(dismissed.expect("it was just there"));
        }
    }

    fn forecast_of(&self, waiter: &Standing, place: u64, supply: &Supply) -> Forecast {
        match waiter.pin {
            Pin::Any => supply.serves(place),
            pin => self.forecast_pinned(pin, supply),
        }
    }

    pub(super) fn supply(&self, now: Timestamp) -> Supply {
        Supply::new(&self.snapshot, self.slots.total(), &self.pace, now)
    }

    /// Counts a refusal and says all there is to say about it.
    pub(super) fn refuse(
        &mut self,
        reason: Reason,
        forecast: Forecast,
        budget: Duration,
        supply: &Supply,
    ) -> Refusal {
        self.tally.refused[reason.index()] += 1;
        let wait = match forecast {
            Forecast::After(wait) => Some(wait),
            Forecast::Never(_) | Forecast::Unknown => None,
        };
        let retry_after = match reason {
            Reason::Paused | Reason::NoCapacityComing => None,
            Reason::Draining => Some(ELSEWHERE),
            Reason::AtMaximum
            | Reason::QueueFull
            | Reason::WaitedTooLong
            | Reason::WouldWaitTooLong => Some(self.come_back(wait, supply)),
        };
        Refusal {
            reason,
            wait,
            budget,
            retry_after,
            waiting: self.queue.waiting(),
            slots: u32::try_from(self.slots.total()).unwrap_or(u32::MAX),
            unattainable: supply.why(),
        }
    }

    /// When a refused request would be served if it came back: once those who wait have been
    /// served down to what fits in half of the longest wait, and each of the refused at a time of
    /// its own, as far apart as slots come free that those who come in any case do not take, so
    /// that obeying makes no second spike.
    fn come_back(&mut self, wait: Option<Duration>, supply: &Supply) -> Duration {
        let (wait, pace) = match (wait, supply.pace_of_returns()) {
            (Some(wait), Some(pace)) => (wait, pace),
            // There is no slot to keep apart by, but it is known when some come.
            (Some(wait), None) if supply.is_at_zero() => {
                return wait.clamp(SOONEST_RETURN, LATEST_RETURN);
            }
            // Nothing was learned: by then whoever waits now has been served or refused.
            _ => return self.settings.max_wait.clamp(SOONEST_RETURN, LATEST_RETURN),
        };
        let now = supply.now();
        let room = supply.shrinks_by(wait.saturating_sub(self.settings.max_wait / 2));
        let room = room.clamp(SOONEST_RETURN, LATEST_RETURN);
        let latest = now + LATEST_RETURN;
        let soonest = now + room;
        // When they are too many for that time they begin anew at its start: told the latest time
        // all of them would come as they came, in one crowd.
        let at = match self.promised.max(soonest) {
            beyond if beyond >= latest => soonest,
            at => at,
        };
        self.promised = at + Duration::from_secs_f64(1.0 / pace);
        at.since(now)
    }
}

/// Where the service is going away another one is usually a connection away.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// Nobody is told to come back sooner: the trip itself takes as long.
const SOONEST_RETURN: Duration = Duration::from_millis(100);
/// Nobody is told to come back later: by then the service is another.
const LATEST_RETURN: Duration = Duration::from_secs(120);
