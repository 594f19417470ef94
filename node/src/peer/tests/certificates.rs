//! Golden vectors of certificate chains (SPEC, section 9), judged as a handshake judges them: `tests/vectors/certificate.json`.
//!
//! Keys, serial numbers and times are fixed, so the file is made again byte for byte; `ENTENTE_BLESS=1` writes it. Each
//! vector is named after its defect.

use super::*;
use rcgen::{BasicConstraints, CustomExtension, SubjectPublicKeyInfo};
use serde_json::{Value as Json, json};
use std::path::Path;

/// AlgorithmIdentifier of Ed25519: in a certificate of ours that of the signature, of the key, and the outer one.
const ED25519: [u8; 7] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
/// SubjectPublicKeyInfo of P-256 up to its point, and the curve's base point (SEC 2, section 2.4.2).
const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4\
                    a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

/// PKCS #8 of the Ed25519 key with this seed (RFC 8410, section 7).
fn fixed(seed: u8) -> PrivatePkcs8KeyDer<'static> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    [HEAD.as_slice(), &[seed; 32]].concat().into()
}

/// An organisation whose root, issuing and node keys have seeds from `seed` on.
fn fixed_org(name: &str, seed: u8) -> Org {
    let (root_key, issuing_key, node_key) = (fixed(seed), fixed(seed + 1), fixed(seed + 2));
    let root = issue::root(name, &root_key, &[seed; 16], NOW).unwrap();
    let id = issue::organisation(&issue::public_key(&root_key).unwrap());
    let subject = issue::public_key(&issuing_key).unwrap();
    let issuing = issue::issuing(name, &subject, &root, &root_key, &[seed + 1; 16], NOW).unwrap();
    let names = NodeNames { org: id, common: name, dns: &[] };
    let subject = issue::public_key(&node_key).unwrap();
    let node = issue::node(names, &subject, &issuing, &issuing_key, &[seed + 2; 16], NOW).unwrap();
    Org { id, root, issuing, issuing_key, node, node_key }
}

fn public(spki: &[u8]) -> PublicKey {
    PublicKey::from_spki(spki).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a verifier knows of one partner, as it stands in the file.
fn partner_json(org: &Org, change: impl FnOnce(&mut Json)) -> Json {
    let node = json!({ "key": hex(&issue::public_key(&org.node_key).unwrap()), "from": NOW.minus(DAY_MS).0 });
    let mut partner = json!({
        "org": org.id.to_string(), "root": hex(&org.root), "nodes": [node], "revoked": [], "removed": false,
    });
    change(&mut partner);
    partner
}

fn partner_from(json: &Json) -> (OrgId, Partner) {
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let listed = |node: &Json| {
        let mut key = CardKey::new(
            Purpose::Node,
            public(&unhex(&text(&node["key"]))),
            UnixMillis(node["from"].as_u64().unwrap()),
        );
        key.until = node["until"].as_u64().map(UnixMillis);
        (key.key.id(), key)
    };
    let partner = Partner {
        root: unhex(&text(&json["root"])).into(),
        state: if json["removed"] == true { PartnerState::Removed } else { PartnerState::Active },
        revoked: json["revoked"].as_array().unwrap().iter().map(|key| text(key).parse().unwrap()).collect(),
        nodes: json["nodes"].as_array().unwrap().iter().map(listed).collect(),
        issuing: BTreeMap::new(),
        addresses: vec![],
    };
    (text(&json["org"]).parse().unwrap(), partner)
}

/// What the verifier of a handshake says, which must not depend on who dialled whom.
fn judge(input: &Json) -> String {
    let partners: Vec<_> = input["partners"].as_array().unwrap().iter().map(partner_from).collect();
    let now = UnixMillis(input["now"].as_u64().unwrap());
    let trust =
        Trust { book: SharedBook::new(book(&partners)), clock: Clock::new(move || now), refusals: Refusals::default() };
    let chain: Vec<CertificateDer<'_>> =
        input["chain"].as_array().unwrap().iter().map(|der| unhex(der.as_str().unwrap()).into()).collect();
    let dialled = input["dialled"].as_str().map(|org| org.parse().unwrap());
    let [one, other] =
        [tls::client_usage(), tls::server_usage()].map(|usage| match tls::partner(&trust, &chain, dialled, usage) {
            Ok(claimed) => format!("accepted: organisation {}, until {}", claimed.org, claimed.not_after.0),
            Err(refusal) => refusal.to_string(),
        });
    assert_eq!(one, other);
    one
}

/// Replaces the `nth` place at which `old` stands by `new`, of the same length; whoever signed it did not sign that.
fn patched(der: &CertificateDer<'_>, old: &[u8], nth: usize, new: &[u8]) -> CertificateDer<'static> {
    let mut bytes = der.to_vec();
    let at =
        bytes.windows(old.len()).enumerate().filter(|(_, window)| *window == old).map(|(at, _)| at).nth(nth).unwrap();
    bytes[at..at + old.len()].copy_from_slice(new);
    bytes.into()
}

/// A chain of `org` whose node certificate was changed before it was signed.
fn odd(org: &Org, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
    org.odd(|params| {
        params.serial_number = Some(vec![0x41; 16].into());
        change(params);
    })
}

/// The same over another key.
fn over(org: &Org, spki: &[u8]) -> Vec<CertificateDer<'static>> {
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&org.issuing_key, &PKCS_ED25519).unwrap();
    let issuer = Issuer::from_ca_cert_der(&org.issuing, pair).unwrap();
    let mut kept = None;
    odd(org, |params| kept = Some(params.clone()));
    let subject = SubjectPublicKeyInfo::from_der(spki).unwrap();
    vec![kept.unwrap().signed_by(&subject, &issuer).unwrap().der().clone(), org.issuing.clone()]
}

/// An authority under a fixed key as the profile wants it, but for one change: signed by itself, or by `above`.
fn authority(
    name: &str,
    seed: u8,
    above: Option<(&CertificateDer<'_>, u8)>,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let pair = |seed| KeyPair::from_pkcs8_der_and_sign_algo(&fixed(seed), &PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    let at = time::OffsetDateTime::from_unix_timestamp((NOW.0 / 1_000).try_into().unwrap()).unwrap();
    (params.not_before, params.not_after) = (at - time::Duration::hours(1), at + time::Duration::days(3_650));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.serial_number = Some(vec![0x42; 16].into());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(u8::from(above.is_none())));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    match above {
        None => params.self_signed(&pair(seed)).unwrap().der().clone(),
        Some((above, key)) => {
            let issuer = Issuer::from_ca_cert_der(above, pair(key)).unwrap();
            params.signed_by(&pair(seed), &issuer).unwrap().der().clone()
        }
    }
}

type Vector = (&'static str, Json, &'static str);

/// Chains whose node certificate differs from the profile in one thing.
fn of_the_node_certificate(a: &Org, case: &dyn Fn(Vec<CertificateDer<'static>>) -> Json) -> Vec<Vector> {
    let names = |names: Vec<SanType>| case(odd(a, |p| p.subject_alt_names = names));
    let uri = |text: String| SanType::URI(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.to_owned().try_into().unwrap());
    let usages = |usages: Vec<ExtendedKeyUsagePurpose>| case(odd(a, |p| p.extended_key_usages = usages));
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    let extension = |critical: bool, times: usize, len: usize| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32_473, 1], vec![0; len]);
        extension.set_criticality(critical);
        case(odd(a, |p| p.custom_extensions = vec![extension; times]))
    };
    let good = odd(a, |_| ());
    let node = |der: CertificateDer<'static>| case(vec![der, a.issuing.clone()]);
    let broken = |nth: &[usize], arc: u8| {
        let new = [0x30, 5, 6, 3, 0x2b, 0x65, arc];
        node(nth.iter().rev().fold(good[0].clone(), |der, nth| patched(&der, &ED25519, *nth, &new)))
    };
    let damaged = {
        let mut bytes = good[0].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        node(bytes.into())
    };
    let trailing = node([good[0].as_ref(), &[0]].concat().into());
    let small_order = [&issue::public_key(&a.node_key).unwrap()[..12], &[0; 32]].concat();
    let profile = "certificate 0 of the chain";
    vec![
        ("certificate_valid", case(good.clone()), "accepted"),
        ("certificate_with_a_dns_name_beside", names(vec![san(a.id), dns("node.example")]), "accepted"),
        ("certificate_with_another_extension_not_critical", extension(false, 1, 2), "accepted"),
        ("certificate_with_another_extension_critical", extension(true, 1, 2), "critical and unknown"),
        ("certificate_with_an_extension_twice", extension(false, 2, 2), "repeated"),
        ("certificate_too_large", extension(false, 1, 8_192), "larger than"),
        ("certificate_client_only", usages(vec![client.clone()]), "extended key usage"),
        ("certificate_server_only", usages(vec![server.clone()]), "extended key usage"),
        ("certificate_without_extended_key_usage", usages(vec![]), "extended key usage"),
        (
            "certificate_for_any_purpose",
            usages(vec![client.clone(), server.clone(), ExtendedKeyUsagePurpose::Any]),
            "extended key usage",
        ),
        (
            "certificate_for_signing_code_too",
            usages(vec![client, server, ExtendedKeyUsagePurpose::CodeSigning]),
            "extended key usage",
        ),
        ("certificate_without_names", names(vec![]), "organisation id"),
        ("certificate_without_an_organisation", names(vec![dns("node.example")]), "organisation id"),
        ("certificate_with_the_organisation_twice", names(vec![san(a.id), san(a.id)]), "organisation id"),
        (
            "certificate_with_the_organisation_in_capitals",
            names(vec![uri(format!("entente:{}", a.id.to_string().to_uppercase()))]),
            "organisation id",
        ),
        ("certificate_with_another_uri", names(vec![uri(format!("urn:{}", a.id))]), "organisation id"),
        (
            "certificate_with_an_email_address",
            names(vec![san(a.id), SanType::Rfc822Name("a@node.example".to_owned().try_into().unwrap())]),
            "organisation id",
        ),
        ("certificate_with_a_wildcard", names(vec![san(a.id), dns("*.example")]), "wildcard"),
        (
            "certificate_with_too_many_names",
            names(std::iter::once(san(a.id)).chain((0..16).map(|n| dns(&format!("n{n}.example")))).collect()),
            "organisation id",
        ),
        (
            "certificate_without_authority_key",
            case(odd(a, |p| p.use_authority_key_identifier_extension = false)),
            "key identifier",
        ),
        (
            "certificate_of_an_authority_as_a_node",
            case(odd(a, |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
            "do not fit its place",
        ),
        (
            "certificate_that_signs_certificates",
            case(odd(a, |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign))),
            "do not fit its place",
        ),
        (
            "certificate_that_signs_nothing",
            case(odd(a, |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement])),
            "do not fit its place",
        ),
        (
            "certificate_serial_of_21_bytes",
            case(odd(a, |p| p.serial_number = Some(vec![0x41; 21].into()))),
            "serial number",
        ),
        ("certificate_serial_negative", node(patched(&good[0], &[2, 16, 0x41], 0, &[2, 16, 0xc1])), "serial number"),
        ("certificate_of_version_2", node(patched(&good[0], &[0xa0, 3, 2, 1, 2], 0, &[0xa0, 3, 2, 1, 1])), profile),
        ("certificate_signed_with_another_algorithm", broken(&[0, 2], 0x71), "an algorithm other than"),
        ("certificate_inner_and_outer_algorithm_differ", broken(&[2], 0x71), "an algorithm other than"),
        ("certificate_over_a_key_for_agreement_only", broken(&[1], 0x6e), "a key other than"),
        ("certificate_over_a_key_of_small_order", case(over(a, &small_order)), "a key other than"),
        ("certificate_signature_damaged", damaged, "does not end in its pinned root"),
        ("certificate_trailing_byte", trailing, "well-formed"),
    ]
}

/// Chains whose authorities differ from the profile in one thing: the root keys of `a` and its issuing key again.
fn of_the_authorities(a: &Org) -> Vec<Vector> {
    let know = |root: &CertificateDer<'_>, chain: Vec<CertificateDer<'static>>, now: UnixMillis| {
        let chain: Vec<String> = chain.iter().map(|der| hex(der)).collect();
        let partner = partner_json(a, |p| p["root"] = json!(hex(root)));
        json!({ "now": now.0, "dialled": null, "partners": [partner], "chain": chain })
    };
    let root =
        |change: fn(&mut CertificateParams)| know(&authority("a", 0x31, None, change), a.chain(), NOW.plus(2 * DAY_MS));
    let issuing = |change: fn(&mut CertificateParams)| {
        let issuing = authority("a", 0x32, Some((&a.root, 0x31)), change);
        know(&a.root, vec![odd(a, |_| ())[0].clone(), issuing], NOW)
    };
    let unstated = |p: &mut CertificateParams| p.use_authority_key_identifier_extension = false;
    let bare = authority("a", 0x31, None, unstated);
    let with_bare = vec![a.node.clone(), a.issuing.clone(), bare.clone()];
    let place = "do not fit its place";
    vec![
        ("root_valid", root(|_| ()), "accepted"),
        ("root_expired", root(|p| p.not_after = p.not_before + time::Duration::days(1)), "root certificate of partner"),
        (
            "root_not_yet_valid",
            root(|p| p.not_before = p.not_after - time::Duration::days(1)),
            "root certificate of partner",
        ),
        ("root_that_is_no_authority", root(|p| p.is_ca = IsCa::ExplicitNoCa), place),
        ("root_without_path_length", root(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "accepted"),
        ("root_that_signs_no_lists", root(|p| p.key_usages.truncate(1)), place),
        ("root_without_authority_key", know(&bare, with_bare.clone(), NOW), "accepted"),
        ("root_without_authority_key_that_is_not_the_pinned_one", know(&a.root, with_bare, NOW), "key identifier"),
        ("issuing_certificate_valid", issuing(|_| ()), "accepted"),
        ("issuing_certificate_without_authority_key", issuing(unstated), "key identifier"),
        ("issuing_certificate_that_is_no_authority", issuing(|p| p.is_ca = IsCa::ExplicitNoCa), place),
        (
            "issuing_certificate_that_signs_no_certificates",
            issuing(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
            place,
        ),
        ("issuing_certificate_expired", issuing(|p| p.not_after = p.not_before), "certificate 1 of the chain: expired"),
    ]
}

/// Chains that are at fault as a whole, and partners who are.
fn of_the_chain(a: &Org, c: &Org) -> Vec<Vector> {
    let know = |partners: Vec<Json>, chain: Vec<CertificateDer<'static>>| {
        let chain: Vec<String> = chain.iter().map(|der| hex(der)).collect();
        json!({ "now": NOW.0, "dialled": null, "partners": partners, "chain": chain })
    };
    let both = |chain| know(vec![partner_json(a, |_| ()), partner_json(c, |_| ())], chain);
    let alone = |change: &dyn Fn(&mut Json)| know(vec![partner_json(a, change)], a.chain());
    let at = |now: UnixMillis| {
        let mut input = both(a.chain());
        input["now"] = json!(now.0);
        input
    };
    let dialled = |org: &Org| {
        let mut input = both(a.chain());
        input["dialled"] = json!(org.id.to_string());
        input
    };
    let (root, issuing, node) = (a.root.clone(), a.issuing.clone(), a.node.clone());
    let key = |spki: &[u8]| KeyId::from_bytes(sha256(&[spki])).to_string();
    let (node_id, issuing_id) =
        (key(&issue::public_key(&a.node_key).unwrap()), key(&issue::public_key(&a.issuing_key).unwrap()));
    let ended = NOW.0;
    // Two faults at once: the one that is looked for first is told (CERT-5).
    let mut late_stranger = know(vec![partner_json(c, |_| ())], a.chain());
    late_stranger["now"] = json!(NOW.plus((issue::NODE_DAYS + 1) * DAY_MS).0);
    let revoked_elsewhere = alone(&|p| {
        p["root"] = json!(hex(&c.root));
        p["revoked"] = json!([node_id]);
    });
    let p256 = unhex(P256);
    let p256_partner = partner_json(a, |p| p["nodes"][0]["key"] = json!(hex(&p256)));
    let (path, last) = ("does not end in its pinned root", NOW.plus(issue::NODE_DAYS * DAY_MS));
    let long_lived = |p: &mut CertificateParams| p.not_after += time::Duration::days(3_650);
    let mut after_the_issuer = both(odd(a, long_lived));
    after_the_issuer["now"] = json!(NOW.plus((issue::ISSUING_DAYS + 1) * DAY_MS).0);
    vec![
        ("chain_valid", both(a.chain()), "accepted"),
        ("chain_with_its_root", both(vec![node.clone(), issuing.clone(), root.clone()]), "accepted"),
        ("chain_of_whom_was_dialled", dialled(a), "accepted"),
        ("chain_of_a_p256_node_key", know(vec![p256_partner], over(a, &p256)), "accepted"),
        ("chain_in_its_last_second", at(last.plus(999)), "accepted"),
        ("chain_expired", at(last.plus(1_000)), "expired"),
        ("chain_not_yet_valid", at(NOW.minus(DAY_MS)), "not valid before"),
        ("chain_whose_issuer_has_expired", after_the_issuer, "certificate 1 of the chain: expired"),
        ("chain_empty", both(vec![]), "a chain of 0"),
        ("chain_of_five", both(vec![node.clone(), issuing.clone(), root.clone(), root.clone(), root]), "a chain of 5"),
        ("chain_without_its_issuer", both(vec![node.clone()]), path),
        ("chain_out_of_order", both(vec![issuing.clone(), node.clone()]), "certificate 0 of the chain"),
        ("chain_with_anothers_issuer", both(vec![node, c.issuing.clone()]), "was not issued by the next"),
        ("chain_of_another_than_was_dialled", dialled(c), "answered as"),
        ("chain_of_a_stranger", know(vec![partner_json(c, |_| ())], a.chain()), "is not a partner"),
        ("chain_of_a_removed_partner", alone(&|p| p["removed"] = json!(true)), "was removed"),
        ("chain_whose_node_key_is_revoked", alone(&|p| p["revoked"] = json!([node_id])), "revokes"),
        ("chain_whose_issuing_key_is_revoked", alone(&|p| p["revoked"] = json!([issuing_id])), "revokes"),
        ("chain_whose_node_key_is_not_listed", alone(&|p| p["nodes"] = json!([])), "does not list"),
        ("chain_whose_node_key_has_ended", alone(&|p| p["nodes"][0]["until"] = json!(ended)), "does not list"),
        ("chain_of_a_stranger_that_has_expired", late_stranger, "expired"),
        ("chain_whose_revoked_key_is_not_from_the_root", revoked_elsewhere, "revokes"),
        ("chain_not_from_the_root", alone(&|p| p["root"] = json!(hex(&c.root))), path),
        ("chain_in_another_partners_name", both(odd(a, |p| p.subject_alt_names = vec![san(c.id)])), path),
        (
            "chain_of_another_partners_issuer_in_this_ones_name",
            both(odd(c, |p| p.subject_alt_names = vec![san(a.id)])),
            path,
        ),
    ]
}

#[test]
fn certificates_and_chains_as_the_vectors_say() {
    let (a, c) = (fixed_org("a", 0x31), fixed_org("c", 0x41));
    let case = |chain: Vec<CertificateDer<'static>>| {
        let chain: Vec<String> = chain.iter().map(|der| hex(der)).collect();
        json!({ "now": NOW.0, "dialled": null, "partners": [partner_json(&a, |_| ())], "chain": chain })
    };
    let cases =
        of_the_node_certificate(&a, &case).into_iter().chain(of_the_authorities(&a)).chain(of_the_chain(&a, &c));
    let vectors: Vec<Json> = cases
        .map(|(name, input, expected)| {
            let answer = judge(&input);
            assert!(answer.contains(expected), "{name}: {answer}");
            json!({ "name": name, "input": input, "answer": answer })
        })
        .collect();
    let about = "Certificate chains (SPEC 9) as a handshake judges them (CERT-5): DER as hexadecimal, the node's first, \
                 with what the verifier knows of its partners (ids, root certificates, node keys that the newest card \
                 lists, keys that it revokes), whom it dialled, and its time. The answer has the organisation and the \
                 end of the chain's validity in milliseconds.";
    let made = json!({ "about": about, "vectors": vectors });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/certificate.json");
    if std::env::var_os("ENTENTE_BLESS").is_some() {
        std::fs::write(path, format!("{made:#}\n")).unwrap();
        return;
    }
    let kept: Json = serde_json::from_str(include_str!("../../../../tests/vectors/certificate.json")).unwrap();
    assert_eq!(kept, made, "certificate.json: see the head of certificates.rs");
    for vector in kept["vectors"].as_array().unwrap() {
        assert_eq!(judge(&vector["input"]), vector["answer"].as_str().unwrap(), "{}", vector["name"]);
    }
}
