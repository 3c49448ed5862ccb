use super::*;
use proptest::prelude::*;

fn one(pattern: Pattern, text: &str) -> Option<String> {
    let mut reader = TimeReader::new(pattern);
    let mut values = vec![reader.read(text)?];
    let (kind, _) = reader.finish(&mut values).ok()?;
    Some(format_time(values[0], kind))
}

fn auto(text: &str) -> Option<String> {
    let (pattern, all) = detect(std::iter::once(text))?;
    assert!(all);
    one(pattern, text)
}

#[test]
fn reads_every_form_of_the_table() {
    for (text, want) in [
        ("2020-01-31", "2020-01-31"),
        ("1990/1/1 0:00", "1990-01-01 00:00:00"),
        ("2016-07-01 00:00:00", "2016-07-01 00:00:00"),
        ("2020-01-31T13:00:00.25", "2020-01-31 13:00:00.250000"),
        ("2020-01-31T13:00:00.123456789Z", "2020-01-31 13:00:00.123456"),
        ("2020-01-31T01:00:00+02:00", "2020-01-30 23:00:00"),
        ("2020-01-31 01:00 -0330", "2020-01-31 04:30:00"),
        ("2020-01-31 1:05 pm", "2020-01-31 13:05:00"),
        ("2020-01-31 12:05 AM", "2020-01-31 00:05:00"),
        ("2020-01-31 24:00", "2020-02-01 00:00:00"),
        ("2020-01", "2020-01-01"),
        ("2020/11", "2020-11-01"),
        ("19580329", "1958-03-29"),
        ("202001311330", "2020-01-31 13:30:00"),
        ("202002", "2020-02-01"),
        ("2020Q1", "2020-01-01"),
        ("2020-Q4", "2020-10-01"),
        ("Jan-1-1995", "1995-01-01"),
        ("Sept 2 1995", "1995-09-02"),
        ("1 January 1995 6:30", "1995-01-01 06:30:00"),
        ("December 1995", "1995-12-01"),
        ("31/1/2020", "2020-01-31"),
        ("1/31/2020", "2020-01-31"),
        ("1/31/2020 1:00 PM", "2020-01-31 13:00:00"),
        ("1.2.2020", "2020-02-01"),
        ("1871", "1871"),
        ("-3", "-3"),
        ("1700.0", "1700"),
    ] {
        assert_eq!(auto(text).as_deref(), Some(want), "{text}");
    }
}

#[test]
fn refuses_what_is_no_time_stamp() {
    for text in
        ["2020-13-01", "2019-02-29", "2020-01-01x", "2020-01-01 25:00", "2020-1", "2020/01-01", "hello", "1.5", "32/1/2020"]
    {
        let read = detect(std::iter::once(text)).map(|(p, _)| p);
        if text == "2020-1" {
            assert_eq!(read, Some(Pattern::Iso));
        } else {
            assert_eq!(read, None, "{text}");
        }
    }
    assert_eq!(one(Pattern::Iso, "2020-01-01 10:60"), None);
    assert_eq!(one(Pattern::Iso, "2020-01-01 10:00 nonsense"), None);
}

#[test]
fn order_of_day_and_month_needs_evidence() {
    let read = |cells: &[&str]| {
        let mut r = TimeReader::new(Pattern::YearLast);
        let mut v: Vec<i64> = cells.iter().map(|c| r.read(c).unwrap()).collect();
        r.finish(&mut v).map(|_| v.iter().map(|v| format_time(*v, TimeKind::Date)).collect::<Vec<_>>())
    };
    assert_eq!(read(&["1/2/2020", "13/2/2020"]).unwrap(), ["2020-02-01", "2020-02-13"]);
    assert_eq!(read(&["1/2/2020", "2/13/2020"]).unwrap(), ["2020-01-02", "2020-02-13"]);
    assert_eq!(read(&["1/2/2020", "2/2/2020"]), Err(TimeConflict::Ambiguous));
    assert_eq!(read(&["13/2/2020", "2/2/2020", "2/14/2020"]), Err(TimeConflict::Mixed(0, 2)));
    assert_eq!(read(&["31/1/2020", "30/2/2020"]), Err(TimeConflict::Mixed(1, 1)));
}

#[test]
fn offsets_on_some_cells_only_are_refused() {
    let mut r = TimeReader::new(Pattern::Iso);
    let mut v = vec![r.read("2020-01-01 00:00Z").unwrap(), r.read("2020-01-01 00:00").unwrap()];
    assert_eq!(r.finish(&mut v), Err(TimeConflict::Offsets));
}

#[test]
fn user_formats() {
    let read = |format: &str, text: &str| one(Pattern::from_format(format).unwrap(), text);
    assert_eq!(read("%d/%m/%Y", "02/01/2020").as_deref(), Some("2020-01-02"));
    assert_eq!(read("%d/%m/%y %H:%M", "02/01/20 07:30").as_deref(), Some("2020-01-02 07:30:00"));
    assert_eq!(read("%b %Y", "Mar 2020").as_deref(), Some("2020-03-01"));
    assert_eq!(read("%Y", "1999").as_deref(), Some("1999-01-01"));
    assert_eq!(read("%Y-%m-%dT%H:%M:%S%z", "2020-01-01T00:00:00+0100").as_deref(), Some("2019-12-31 23:00:00"));
    assert_eq!(read("%G-W%V-%u", "2020-W01-1").as_deref(), Some("2019-12-30"));
    assert_eq!(read("epoch-s", "86400").as_deref(), Some("1970-01-02"));
    assert_eq!(read("epoch-ms", "1577836800500").as_deref(), Some("2020-01-01 00:00:00.500000"));
    assert_eq!(read("epoch-ns", "-1").as_deref(), Some("1969-12-31 23:59:59.999999"));
    assert_eq!(read("%d/%m/%Y", "2020-01-02"), None);
    assert!(Pattern::from_format("%Q").is_err());
    assert!(Pattern::from_format("day").is_err());
}

#[test]
fn an_index_is_no_date_but_a_column_of_dates_is() {
    assert_eq!(detect(["1", "2", "3"].into_iter()), Some((Pattern::Integer, true)));
    assert_eq!(detect(["19580329", "19580405"].into_iter()), Some((Pattern::Compact, true)));
    // 20201301 has no month 13.
    assert_eq!(detect(["20201201", "20201301"].into_iter()), Some((Pattern::Integer, true)));
    assert_eq!(detect(["", " "].into_iter()), None);
    assert_eq!(detect(["2020-01-01", "", "n/a", "2020-01-03"].into_iter()), Some((Pattern::Iso, false)));
}

proptest! {
    #[test]
    fn writing_then_reading_gives_the_same(v in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
        let text = format_time(v, TimeKind::DateTime);
        let stamp = iso(text.as_bytes()).unwrap();
        prop_assert_eq!(stamp.value, v);
        prop_assert_eq!(format_time(v.div_euclid(DAY) * DAY, TimeKind::Date), text[..10].to_owned());
        prop_assert_eq!(strftime(&text[..19], "%Y-%m-%d %H:%M:%S").unwrap().value, v.div_euclid(SECOND) * SECOND);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,24}") {
        for p in [Pattern::Iso, Pattern::Compact, Pattern::Quarter, Pattern::MonthName, Pattern::YearLast, Pattern::Integer] {
            let _ = TimeReader::new(p).read(&text);
        }
        let _ = Pattern::from_format(&text).map(|p| TimeReader::new(p).read("2020-01-01"));
    }

    #[test]
    fn near_dates_do_not_panic(text in "[0-9A-Za-zé/:.+ -]{0,20}") {
        for p in [Pattern::Iso, Pattern::Compact, Pattern::Quarter, Pattern::MonthName, Pattern::YearLast, Pattern::Integer] {
            let mut r = TimeReader::new(p);
            if let Some(v) = r.read(&text) {
                let _ = r.finish(&mut [v]);
            }
        }
    }
}
