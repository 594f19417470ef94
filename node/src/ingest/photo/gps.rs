//! Place and satellite time from the GPS directory of EXIF, in whole numbers.
//!
//! Called by [`exif`](super::exif) only. It never gives a place that the block does not state in
//! full: a missing hemisphere, a zero denominator or a value out of range is a fault, not a guess.

use exif::Rational;
use time::{Date, Month, Time};

/// A point in WGS 84, in 1e-7 degree: about one centimetre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Longitude, east positive, within ±180 degrees.
    pub lon_e7: i32,
    /// Latitude, north positive, within ±90 degrees.
    pub lat_e7: i32,
}

/// Reads degrees, minutes and seconds with their hemisphere letters.
///
/// Returns nothing for what cannot be a place: fewer than three numbers, `x/0`, minutes or seconds of
/// 60 and more, an angle beyond its range, another letter, or the point 0, 0, which receivers without
/// a fix write.
pub(super) fn place(lat: &[Rational], lat_ref: &[u8], lon: &[Rational], lon_ref: &[u8]) -> Option<Place> {
    let lat = angle(lat, 90)?;
    let lon = angle(lon, 180)?;
    let lat_e7 = match lat_ref.first()? {
        b'N' => lat,
        b'S' => -lat,
        _ => return None,
    };
    let lon_e7 = match lon_ref.first()? {
        b'E' => lon,
        b'W' => -lon,
        _ => return None,
    };
    (lat_e7 != 0 || lon_e7 != 0).then_some(Place { lon_e7, lat_e7 })
}

/// Degrees, minutes, seconds to 1e-7 degree, rounded to the nearest.
fn angle(parts: &[Rational], degrees_max: u32) -> Option<i32> {
    let [degrees, minutes, seconds] = parts else { return None };
    // In 1e-10 degree, so that rounding three parts does not move the seventh digit. A numerator has
    // 32 bits and the factor 34: the product needs more than 64.
    const FINE: u128 = 10_000_000_000;
    let part = |value: &Rational, factor: u128| (u128::from(value.num) * factor).checked_div(value.denom.into());
    let in_sixty = |value: &Rational| u64::from(value.num) < 60 * u64::from(value.denom);
    if value_beyond(degrees, degrees_max) || !in_sixty(minutes) || !in_sixty(seconds) {
        return None;
    }
    let fine = part(degrees, FINE)? + part(minutes, FINE / 60)? + part(seconds, FINE / 3_600)?;
    let angle_e7 = (fine + 500) / 1_000;
    if angle_e7 > u128::from(degrees_max) * 10_000_000 {
        return None;
    }
    i32::try_from(angle_e7).ok()
}

fn value_beyond(value: &Rational, max: u32) -> bool {
    u64::from(value.num) > u64::from(max) * u64::from(value.denom)
}

/// Satellite date and time as EDTF in UTC, such as `2010-05-15T15:12:07Z`.
pub(super) fn instant(date: &[u8], time: &[Rational]) -> Option<String> {
    let date = calendar_date(date, b':').or_else(|| calendar_date(date, b'-'))?;
    let [hour, minute, second] = time else { return None };
    let whole = |value: &Rational| value.num.checked_div(value.denom).and_then(|n| u8::try_from(n).ok());
    let time = Time::from_hms(whole(hour)?, whole(minute)?, whole(second)?).ok()?;
    Some(format!("{}Z", edtf(date, time)))
}

/// A camera's `2002:07:13 15:58:28` as EDTF without a zone; nothing if it is no date of the calendar.
pub(super) fn local_time(text: &[u8]) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = calendar_date(date, b':')?;
    let [b' ', h1, h2, b':', m1, m2, b':', s1, s2, ..] = *rest else { return None };
    let time = Time::from_hms(two(h1, h2)?, two(m1, m2)?, two(s1, s2)?).ok()?;
    Some(edtf(date, time))
}

fn edtf(date: Date, time: Time) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// No photograph is older than photography: a year before 1826 is a clock never set.
fn calendar_date(text: &[u8], separator: u8) -> Option<Date> {
    let [y1, y2, y3, y4, first, m1, m2, second, d1, d2, ..] = *text else { return None };
    let year = i32::from(two(y1, y2)?) * 100 + i32::from(two(y3, y4)?);
    if first != separator || second != separator || year < 1826 {
        return None;
    }
    Date::from_calendar_date(year, Month::try_from(two(m1, m2)?).ok()?, two(d1, d2)?).ok()
}

fn two(tens: u8, units: u8) -> Option<u8> {
    (tens.is_ascii_digit() && units.is_ascii_digit()).then(|| (tens - b'0') * 10 + (units - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dms(values: [(u32, u32); 3]) -> Vec<Rational> {
        values.map(|(num, denom)| Rational { num, denom }).to_vec()
    }

    #[test]
    fn angles_are_exact_to_the_seventh_digit() {
        // 54 degrees 59.38 minutes north, 1 degree 54.85 minutes west.
        let lat = dms([(54, 1), (5_938, 100), (0, 1)]);
        let lon = dms([(1, 1), (5_485, 100), (0, 1)]);
        assert_eq!(place(&lat, b"N", &lon, b"W"), Some(Place { lon_e7: -19_141_667, lat_e7: 549_896_667 }));
        // The same angle over a large denominator.
        let large = dms([(4_000_000_000, 1_000_000_000), (0, 1), (0, 1)]);
        assert_eq!(place(&large, b"N", &large, b"E"), Some(Place { lon_e7: 40_000_000, lat_e7: 40_000_000 }));
        let edge = dms([(90, 1), (0, 1), (0, 1)]);
        let line = dms([(180, 1), (0, 1), (0, 1)]);
        assert_eq!(place(&edge, b"S", &line, b"E"), Some(Place { lon_e7: 1_800_000_000, lat_e7: -900_000_000 }));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let good = dms([(4, 1), (20, 1), (30, 1)]);
        let bad = [
            dms([(0, 0), (0, 0), (0, 0)]),
            dms([(48, 1), (5_332_358, 100_000), (0, 0)]),
            dms([(91, 1), (0, 1), (0, 1)]),
            dms([(90, 1), (0, 1), (1, 1)]),
            dms([(4, 1), (60, 1), (0, 1)]),
            dms([(4, 1), (0, 1), (60, 1)]),
            dms([(u32::MAX, 1), (u32::MAX, 1), (u32::MAX, 1)]),
            dms([(4, 1), (0, 1), (0, 1)])[..2].to_vec(),
        ];
        for lat in bad {
            assert_eq!(place(&lat, b"N", &good, b"E"), None, "{lat:?}");
        }
        assert_eq!(place(&good, b"X", &good, b"E"), None);
        assert_eq!(place(&good, b"", &good, b"E"), None);
        let zero = dms([(0, 1), (0, 1), (0, 1)]);
        assert_eq!(place(&zero, b"N", &zero, b"E"), None);
    }

    #[test]
    fn times_are_calendar_times() {
        assert_eq!(local_time(b"2002:07:13 15:58:28").as_deref(), Some("2002-07-13T15:58:28"));
        for bad in ["0000:00:00 00:00:00", "2002:13:01 00:00:00", "2023:02:29 00:00:00", "2002:07:13 24:00:00"] {
            assert_eq!(local_time(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(local_time(b"    :  :     :  :  "), None);
        assert_eq!(local_time(b"2002:07:13"), None);
        let time = dms([(15, 1), (12, 1), (762, 100)]);
        assert_eq!(instant(b"2010:05:15", &time).as_deref(), Some("2010-05-15T15:12:07Z"));
        assert_eq!(instant(b"2010:05:15", &dms([(15, 0), (12, 1), (7, 1)])), None);
    }
}
