//! VAT identification numbers: whether one has the form of its country. Whether it is given out is the tax offices' to say.
//!
//! Forms: "VIES, frequently asked questions" of the European Commission, question 11; for Switzerland the UID register, for China GB 32100-2015.

/// Forms by country, as they are written behind its letters: 9 a digit, A a letter, X either.
const FORMS: &[(&str, &[&str])] = &[
    ("AT", &["U99999999"]),
    ("BE", &["9999999999"]),
    ("BG", &["999999999", "9999999999"]),
    ("CH", &["E999999999", "E999999999MWST", "E999999999TVA", "E999999999IVA"]),
    ("CY", &["99999999A"]),
    ("CZ", &["99999999", "999999999", "9999999999"]),
    ("DE", &["999999999"]),
    ("DK", &["99999999"]),
    ("EE", &["999999999"]),
    ("EL", &["999999999"]),
    ("ES", &["X9999999X"]),
    ("FI", &["99999999"]),
    ("FR", &["XX999999999"]),
    ("GB", &["999999999", "999999999999", "GD999", "HA999"]),
    ("HR", &["99999999999"]),
    ("HU", &["99999999"]),
    ("IE", &["9X99999A", "9999999AA"]),
    ("IT", &["99999999999"]),
    ("LT", &["999999999", "999999999999"]),
    ("LU", &["99999999"]),
    ("LV", &["99999999999"]),
    ("MT", &["99999999"]),
    ("NL", &["XXXXXXXXXXXX"]),
    ("NO", &["999999999", "999999999MVA"]),
    ("PL", &["9999999999"]),
    ("PT", &["999999999"]),
    ("RO", &["99", "999", "9999", "99999", "999999", "9999999", "99999999", "999999999", "9999999999"]),
    ("SE", &["999999999999"]),
    ("SI", &["99999999"]),
    ("SK", &["9999999999"]),
    ("XI", &["999999999", "999999999999", "GD999", "HA999"]),
];

fn fits(form: &str, text: &str) -> bool {
    form.len() == text.len()
        && form.bytes().zip(text.bytes()).all(|(form, letter)| match form {
            b'9' => letter.is_ascii_digit(),
            b'A' => letter.is_ascii_uppercase(),
            b'X' => letter.is_ascii_uppercase() || letter.is_ascii_digit(),
            same => same == letter,
        })
}

/// The number as it is kept: without blanks, dots and hyphens, in capitals, with the letters of its country; `None` where it has not the form of its
/// country. Greece writes itself EL. A country without a form here may have up to twenty letters and digits.
#[must_use]
pub fn read(text: &str, country: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '.' | '-')).flat_map(char::to_uppercase).collect();
    let country = if country == "GR" { "EL" } else { country };
    if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let forms = |of: &str| FORMS.iter().find(|(letters, _)| *letters == of).map(|(_, forms)| *forms);
    // With the letters of any country: a company is registered where it is registered.
    if let Some((letters, rest)) = plain.split_at_checked(2)
        && let Some(forms) = forms(letters)
        && forms.iter().any(|form| fits(form, rest))
    {
        return Some(plain);
    }
    match forms(country) {
        Some(forms) => forms.iter().any(|form| fits(form, &plain)).then(|| format!("{country}{plain}")),
        // The unified social credit code, or the older number of a taxpayer.
        None if country == "CN" => matches!(plain.len(), 15 | 18 | 20).then_some(plain),
        None => (4..=20).contains(&plain.len()).then_some(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_form_of_its_country() {
        for (text, country, kept) in [
            ("NL 8219.45.332 B01", "NL", Some("NL821945332B01")),
            ("de 123-456-789", "FR", Some("DE123456789")),
            ("123456789", "DE", Some("DE123456789")),
            ("ATU12345678", "AT", Some("ATU12345678")),
            ("U12345678", "AT", Some("ATU12345678")),
            ("EL123456789", "GR", Some("EL123456789")),
            ("CHE-123.456.789 MWST", "CH", Some("CHE123456789MWST")),
            ("IE1234567WA", "IE", Some("IE1234567WA")),
            ("91350211M000100Y43", "CN", Some("91350211M000100Y43")),
            ("US12-3456789", "US", Some("US123456789")),
            ("DE12345678", "DE", None),
            ("AT12345678", "AT", None),
            ("12345", "CN", None),
            ("", "US", None),
            ("№123456", "US", None),
        ] {
            assert_eq!(read(text, country).as_deref(), kept, "{text} {country}");
        }
    }
}
