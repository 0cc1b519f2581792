//! What waits to leave for the device: submissions encoded into one command buffer, as many as take little time.
//!
//! To start a command buffer costs the host tens of microseconds, more than many a small step takes. So submissions share one,
//! as many as fit into [`BUDGET`] by the time that those before took, and [`GROUP_MAX`] at most; the first one goes alone. No
//! result depends on it, since the device sees the same work in the same order.

use super::device::{Device, Submitted};
use super::ring::RING;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the submissions of a command buffer may take together: far below the seconds after which a driver gives up on one, and
/// what readings may be late by.
const BUDGET: Duration = Duration::from_millis(50);

/// The most submissions of a command buffer.
const GROUP_MAX: usize = RING / 2;

/// Submissions on their way to one command buffer.
#[derive(Debug)]
pub(super) struct Pending {
    encoder: Option<wgpu::CommandEncoder>,
    count: usize,
    pace: Pace,
    /// Command buffers under way, the oldest first.
    under_way: VecDeque<UnderWay>,
    /// Numbers of those that are done, and when that was noticed.
    sender: Sender<(u64, Instant)>,
    /// In a mutex only so that an executor may be shared between threads: nothing contends for it.
    done: Mutex<Receiver<(u64, Instant)>>,
    last: u64,
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    since: Instant,
    submissions: usize,
}

/// How many submissions a command buffer takes.
#[derive(Debug)]
struct Pace {
    most: usize,
    fixed: bool,
    /// What a submission takes.
    each: Duration,
}

impl Pace {
    fn new(fixed: Option<usize>) -> Self {
        let most = fixed.unwrap_or(1).clamp(1, GROUP_MAX);
        Self { most, fixed: fixed.is_some(), each: Duration::ZERO }
    }

    /// Takes note that so many submissions took so long. Slower ones count at once, faster ones by half; the group doubles at
    /// most.
    fn learn(&mut self, took: Duration, submissions: usize) {
        let each = took / submissions.max(1) as u32;
        self.each = if each > self.each { each } else { (self.each + each) / 2 };
        if !self.fixed {
            let fit = BUDGET.as_nanos() / self.each.as_nanos().max(1);
            let fit = usize::try_from(fit).unwrap_or(GROUP_MAX);
            self.most = fit.clamp(1, GROUP_MAX.min(2 * self.most));
        }
    }
}

impl Pending {
    pub fn new(fixed: Option<usize>) -> Self {
        let (sender, done) = channel();
        let under_way = VecDeque::with_capacity(RING);
        Self { encoder: None, count: 0, pace: Pace::new(fixed), under_way, sender, done: Mutex::new(done), last: 0 }
    }

    /// Where the next submission is encoded.
    pub fn encoder(&mut self, device: &Device) -> &mut wgpu::CommandEncoder {
        self.count += 1;
        let begin = || device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.encoder.get_or_insert_with(begin)
    }

    /// How many submissions a command buffer takes at present.
    pub fn most(&self) -> usize {
        self.pace.most
    }

    /// Whether it is time to leave.
    pub fn is_full(&self) -> bool {
        self.count >= self.pace.most
    }

    /// The number of the command buffer that left last.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Sends off what is there.
    pub fn flush(&mut self, device: &Device) -> Option<Submitted> {
        let submitted = device.submit(self.encoder.take()?.finish());
        let (sender, number) = (self.sender.clone(), submitted.number);
        device.queue.on_submitted_work_done(move || {
            // The receiver is gone only when the executor is.
            let _ = sender.send((number, Instant::now()));
        });
        let submissions = std::mem::take(&mut self.count);
        self.under_way.push_back(UnderWay { number, since: Instant::now(), submissions });
        self.last = number;
        Some(submitted)
    }

    /// Takes note of what is done.
    pub fn learn(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        while let Ok((number, at)) = done.try_recv() {
            while self.under_way.front().is_some_and(|first| first.number <= number) {
                let Some(first) = self.under_way.pop_front() else { break };
                self.pace.learn(at.saturating_duration_since(first.since), first.submissions);
                // The one behind it had to wait until now.
                if let Some(next) = self.under_way.front_mut() {
                    next.since = next.since.max(at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_doubles_while_it_fits_into_the_budget() {
        let mut pace = Pace::new(None);
        let mut sizes = Vec::new();
        for _ in 0..7 {
            sizes.push(pace.most);
            pace.learn(Duration::from_micros(400 * pace.most as u64), pace.most);
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 16, 16]);
        // A submission of 10 ms: five of them fit at once; later, when it is faster again, more.
        pace.learn(Duration::from_millis(160), 16);
        assert_eq!(pace.most, 5);
        pace.learn(Duration::from_micros(5 * 400), 5);
        assert!((6..=10).contains(&pace.most), "{}", pace.most);
        pace.learn(Duration::from_secs(3), 1);
        assert_eq!(pace.most, 1, "a submission past the budget goes alone");
    }

    #[test]
    fn a_fixed_group_stays() {
        let mut pace = Pace::new(Some(3));
        pace.learn(Duration::from_secs(3), 3);
        assert_eq!(pace.most, 3);
        assert_eq!(Pace::new(Some(1000)).most, GROUP_MAX);
    }
}
