//! `entente clock`: what is known about the time, and saying that a time which the clock once showed was wrong.

use super::{
    output::{Done, Failure},
    reach::Reach,
    show::object,
};
use crate::{call::Call, cli, clock::say, error::Fault};

/// Carries out a command about the clock.
pub fn clock(reach: &Reach, command: cli::Clock) -> Result<Done, Failure> {
    let answer = match command {
        cli::Clock::Show => reach.call(&Call::ClockShow)?,
        cli::Clock::Lower { to, yes } => {
            let to = match to.as_str() {
                "now" => None,
                text => Some(say::parse(text).ok_or_else(|| {
                    let form = "write `now`, a day as 2026-11-28, or a time in UTC as 2026-11-28T09:00:00Z";
                    Fault::input("time", format!("`{text}` is no time: {form}"))
                })?),
            };
            let question = "Have you compared this clock with another, and was the later time wrong?";
            reach.confirm(yes, question, "--yes")?;
            reach.call(&Call::ClockLower { to })?
        }
    };
    reach.output.answer(&answer, || object(&answer, reach.output.look))?;
    Ok(Done::Well)
}
