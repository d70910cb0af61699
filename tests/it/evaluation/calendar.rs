//! The days of an evaluation: a baseline, the window's day after it, and how busy each hour is.

use crate::truth::random::Random;

pub(super) const DAY: i64 = 86_400;
pub(super) const HOUR: i64 = 3_600;

/// 2026-03-02, a Monday.
const MONDAY: i64 = 1_772_409_600;

#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    pub(super) first: i64,
    pub(super) days: i64,
}

/// When something happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Busy {
    Always,
    /// From nine to five, Monday to Friday, and next to nothing else.
    Office,
    /// Most in the evening, least at night, more at weekends.
    Visitors,
    /// Once a day for each client, in this hour.
    Daily(i64),
    /// Once a week for each client, on the weekday of the window's day, in this hour.
    Weekly(i64),
}

impl Calendar {
    /// The window's day is of another weekday for another seed.
    pub(super) fn new(random: &mut Random, days: i64) -> Self {
        Self {
            first: MONDAY + random.between(0, 6) * DAY,
            days,
        }
    }

    /// The start of the window's day, which is the last.
    pub(super) fn window(self) -> i64 {
        self.first + (self.days - 1) * DAY
    }

    pub(super) fn hours(self) -> impl Iterator<Item = i64> {
        (0..self.days * 24).map(move |hour| self.first + hour * HOUR)
    }

    /// A time within an hour of the window's day.
    pub(super) fn at(self, hour: i64, minute: i64) -> i64 {
        self.window() + hour * HOUR + minute * 60
    }
}

impl Busy {
    /// How many hundredths of its full rate there are in the hour that starts then.
    pub(super) fn load(self, hour: i64) -> i64 {
        let (of_day, weekday) = (hour.rem_euclid(DAY) / HOUR, weekday(hour));
        match self {
            Self::Always | Self::Daily(_) | Self::Weekly(_) => 100,
            Self::Office if weekday < 5 && (9..17).contains(&of_day) => 100,
            Self::Office => 4,
            Self::Visitors => {
                let of_hour = [25, 10, 5, 5, 5, 10, 25, 50, 70, 80, 80, 90][usize_of(of_day / 2)];
                if weekday < 5 { of_hour } else { of_hour + 10 }
            }
        }
    }
}

/// From Monday, 0.
pub(super) fn weekday(time: i64) -> i64 {
    (time - MONDAY).div_euclid(DAY).rem_euclid(7)
}

fn usize_of(number: i64) -> usize {
    usize::try_from(number).unwrap()
}
