//! Countries: the names that lists use, and their ISO 3166-1 alpha-2 codes, with the withdrawn ones of ISO 3166-3
//! that makers of old weapons need (SU, DD, CS, YU).
//!
//! The mapping's table `country` is this one. A code stands for itself. What is not listed is not guessed.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Code, then names separated by bars; case, points and a leading "the" do not matter.
const COUNTRIES: &str = "\
AF Afghanistan|Islamic Republic of Afghanistan
AL Albania
DZ Algeria
AD Andorra
AO Angola
AG Antigua and Barbuda
AR Argentina
AM Armenia
AW Aruba
AU Australia
AT Austria
AZ Azerbaijan
BS Bahamas
BH Bahrain
BD Bangladesh
BB Barbados
BY Belarus|Byelorussia
BE Belgium
BZ Belize
BJ Benin
BM Bermuda
BT Bhutan
BO Bolivia|Plurinational State of Bolivia|Bolivia, Plurinational State of
BA Bosnia and Herzegovina|Bosnia|Bosnia-Herzegovina|Bosnia & Herzegovina
BW Botswana
BR Brazil
BN Brunei|Brunei Darussalam
BG Bulgaria
BF Burkina Faso
BI Burundi
KH Cambodia
CM Cameroon|Cameroun
CA Canada
CV Cape Verde|Cabo Verde
KY Cayman Islands
CF Central African Republic|CAR
TD Chad|Tchad
CL Chile
CN China|People's Republic of China|PRC
CO Colombia
KM Comoros
CG Congo|Republic of the Congo|Congo-Brazzaville
CD Democratic Republic of the Congo|DR Congo|DRC|Congo, Democratic Republic of the|Congo-Kinshasa|Zaire
CR Costa Rica
CI Ivory Coast|Cote d'Ivoire|C\u{f4}te d'Ivoire
HR Croatia
CU Cuba
CW Curacao|Cura\u{e7}ao
CY Cyprus
CZ Czech Republic|Czechia
DK Denmark
DJ Djibouti
DM Dominica
DO Dominican Republic
EC Ecuador
EG Egypt|Arab Republic of Egypt
SV El Salvador
GQ Equatorial Guinea
ER Eritrea
EE Estonia
SZ Eswatini|Swaziland
ET Ethiopia
FO Faroe Islands
FJ Fiji
FI Finland
FR France
GF French Guiana
PF French Polynesia
GA Gabon
GM Gambia
GE Georgia
DE Germany|Federal Republic of Germany
GH Ghana
GI Gibraltar
GR Greece
GL Greenland
GD Grenada
GT Guatemala
GG Guernsey
GN Guinea
GW Guinea-Bissau
GY Guyana
HT Haiti
HN Honduras
HK Hong Kong|Hong Kong SAR
HU Hungary
IS Iceland
IN India
ID Indonesia
IR Iran|Islamic Republic of Iran|Iran, Islamic Republic of|Iran (Islamic Republic of)
IQ Iraq
IE Ireland
IM Isle of Man
IL Israel
IT Italy
JM Jamaica
JP Japan
JE Jersey
JO Jordan
KZ Kazakhstan
KE Kenya
KI Kiribati
KP North Korea|DPRK|Democratic People's Republic of Korea|Korea, Democratic People's Republic of
KR South Korea|Republic of Korea|Korea, Republic of|Korea, Republic|Korea
XK Kosovo
KW Kuwait
KG Kyrgyzstan
LA Laos|Lao People's Democratic Republic
LV Latvia
LB Lebanon
LS Lesotho
LR Liberia
LY Libya|Libyan Arab Jamahiriya|Lybia|State of Libya
LI Liechtenstein
LT Lithuania
LU Luxembourg
MO Macao|Macau
MG Madagascar
MW Malawi
MY Malaysia
MV Maldives
ML Mali
MT Malta
MH Marshall Islands
MR Mauritania
MU Mauritius
MX Mexico
FM Micronesia
MD Moldova|Republic of Moldova|Moldova, Republic of
MC Monaco
MN Mongolia
ME Montenegro
MA Morocco
MZ Mozambique
MM Myanmar|Burma
NA Namibia
NR Nauru
NP Nepal
NL Netherlands|Holland
NC New Caledonia
NZ New Zealand
NI Nicaragua
NE Niger
NG Nigeria
MK North Macedonia|FYROM|Macedonia|Former Yugoslav Republic of Macedonia
NO Norway
OM Oman
PK Pakistan
PW Palau
PS Palestine|State of Palestine|Palestinian Territories|Occupied Palestinian Territory|Palestinian
PA Panama
PG Papua New Guinea
PY Paraguay
PE Peru
PH Philippines
PL Poland
PT Portugal
PR Puerto Rico
QA Qatar
RO Romania
RU Russia|Russian Federation
RW Rwanda
KN Saint Kitts and Nevis
LC Saint Lucia
VC Saint Vincent and the Grenadines
WS Samoa
SM San Marino
ST Sao Tome and Principe
SA Saudi Arabia
SN Senegal
RS Serbia
SC Seychelles
SL Sierra Leone
SG Singapore
SK Slovakia|Slovak Republic
SI Slovenia
SB Solomon Islands
SO Somalia
ZA South Africa
SS South Sudan
ES Spain
LK Sri Lanka
SD Sudan
SR Suriname
SE Sweden
CH Switzerland
SY Syria|Syrian Arab Republic
TW Taiwan|Chinese Taipei|Taiwan, Province of China
TJ Tajikistan
TZ Tanzania|United Republic of Tanzania|Tanzania, United Republic of
TH Thailand
TL Timor-Leste|East Timor
TG Togo
TO Tonga
TT Trinidad and Tobago|Trinidad & Tobago
TN Tunisia
TR Turkey|Turkiye|T\u{fc}rkiye
TM Turkmenistan
TV Tuvalu
UG Uganda
UA Ukraine
AE United Arab Emirates|UAE
GB United Kingdom|UK|Great Britain|United Kingdom of Great Britain and Northern Ireland
US United States|USA|United States of America|US of America
UY Uruguay
UZ Uzbekistan
VU Vanuatu
VA Holy See|Vatican|Vatican City
VE Venezuela|Bolivarian Republic of Venezuela|Venezuela, Bolivarian Republic of
VN Vietnam|Viet Nam
EH Western Sahara
YE Yemen
ZM Zambia
ZW Zimbabwe
SU Soviet Union|USSR
DD East Germany|German Democratic Republic|GDR
CS Czechoslovakia
YU Yugoslavia|SFR Yugoslavia
XX Unknown";

static BY_NAME: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for line in COUNTRIES.lines() {
        let Some((code, listed)) = line.split_once(' ') else { continue };
        names.insert(key(code), code.to_owned());
        for name in listed.split('|') {
            names.insert(key(name), code.to_owned());
        }
    }
    names
});

/// The code that a name or a code stands for.
pub fn country(name: &str) -> Option<&'static str> {
    BY_NAME.get(&key(name)).map(String::as_str)
}

fn key(name: &str) -> String {
    let small = name.to_lowercase().replace('\u{2019}', "'").replace('.', "");
    let joined = small.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.strip_prefix("the ").map(str::to_owned).unwrap_or(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_lists_write_them() {
        for (name, code) in [
            ("Soviet Union", "SU"),
            ("Yugoslavia", "YU"),
            ("czech republic", "CZ"),
            ("Democratic People's Republic of Korea", "KP"),
            ("The Netherlands", "NL"),
            ("T\u{fc}rkiye", "TR"),
            ("C\u{f4}te d\u{2019}Ivoire", "CI"),
            ("U.S.A.", "US"),
            ("GB", "GB"),
            ("Atlantis", ""),
        ] {
            assert_eq!(country(name).unwrap_or_default(), code, "{name}");
        }
    }

    #[test]
    fn no_name_stands_for_two() {
        let mut seen = HashMap::new();
        for line in COUNTRIES.lines() {
            let (code, listed) = line.split_once(' ').unwrap();
            assert!(code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()), "{line}");
            for name in listed.split('|').chain([code]) {
                assert!(seen.insert(key(name), code).is_none_or(|before| before == code), "{name}");
            }
        }
        assert!(seen.len() > 400);
    }
}
