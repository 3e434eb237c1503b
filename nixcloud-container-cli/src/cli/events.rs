//! events.

use std::str::FromStr;

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use nixcloud_container::ContainerName;

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// The containers; all when none is named. One that does not exist yet is waited for
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<ContainerName>,
    /// Only changes, and first those since TIME: `now`, `2h`, `2026-11-30 06:40`, `2026-11-30T06:40:00Z`
    #[arg(
        long,
        value_name = "TIME",
        long_help = "Tell changes alone, and first those since TIME that are still known: `now` for none of them, a time that has \
                     passed (`90s`, `2h 30m`, `1 day`), a local time (`2026-11-30 06:40`) or one with its zone (`2026-11-30T06:40:00Z`)"
    )]
    pub(crate) since: Option<Since>,
    /// End when all is told that has happened so far
    #[arg(long)]
    pub(crate) no_follow: bool,
}

/// A time in the past, or now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since(pub(crate) Timestamp);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let now = Timestamp::now();
        if text == "now" {
            return Ok(Self(now));
        }
        let zone = TimeZone::system();
        let ago = || {
            let span: Span = text.parse().ok()?;
            now.to_zoned(zone.clone()).checked_sub(span.abs()).ok().map(|time| time.timestamp())
        };
        let local = || zone.to_timestamp(text.parse::<DateTime>().ok()?).ok();
        let time = text.parse::<Timestamp>().ok().or_else(ago).or_else(local);
        time.map(Self).ok_or_else(|| {
            "`now`, a time that has passed (`2h 30m`), a local time (`2026-11-30 06:40`) or one with its zone is"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let since = |text: &str| text.parse::<Since>().map(|since| since.0);
        let ago = |text: &str| Timestamp::now().duration_since(since(text).unwrap()).as_secs();
        assert!(ago("now") < 60);
        for (text, seconds) in [("90s", 90), ("2h 30m", 9000), ("1 day", 86_400), ("PT1H", 3600)] {
            // A day on which a clock is changed has an hour more or less.
            assert!((seconds - 3600..seconds + 3660).contains(&ago(text)), "{text}");
        }
        let utc: Timestamp = "2026-01-30T06:40:00Z".parse().unwrap();
        assert_eq!(since("2026-01-30T06:40:00Z").unwrap(), utc);
        let local = TimeZone::system().to_timestamp("2026-01-30T06:40".parse::<DateTime>().unwrap()).unwrap();
        assert_eq!(since("2026-01-30 06:40").unwrap(), local);
        for wrong in ["", "soon", "12", "2026-13-01"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
