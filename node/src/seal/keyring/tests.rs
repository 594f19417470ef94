//! The two files of a keyring under change, damage and cuts.

use super::*;

#[test]
fn changes_last_in_both_files_and_destruction_reaches_both() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let (node, recovery) = (Identity::generate()?, Identity::generate()?);
    let agreement = Partition::Agreement(AgreementId::from_bytes([7; 16]));
    let keyring = Keyring::create(home.path(), &node, &recovery.recipient())?;
    assert!(Keyring::create(home.path(), &node, &recovery.recipient()).is_err());
    keyring.ensure_partition(Partition::Own)?;
    keyring.ensure_partition(agreement)?;
    keyring.ensure_partition(agreement)?;
    assert_eq!(keyring.rotate(agreement)?, 2);
    let token = keyring.keys(agreement)?.token("label", &[b"value"]);

    let opened = Keyring::open(home.path(), &node, &recovery.recipient())?;
    assert_eq!(opened.partitions(), [Partition::Own, agreement]);
    assert_eq!(opened.keys(agreement)?.newest_number(), 2);
    assert_eq!(opened.keys(agreement)?.token("label", &[b"value"]), token);
    assert_ne!(opened.keys(Partition::Own)?.token("label", &[b"value"]), token);

    let elsewhere = tempfile::tempdir()?;
    let fresh = Identity::generate()?;
    let copy = home.path().join(KEYRING_RECOVERY_FILE);
    let recovered = Keyring::recover(elsewhere.path(), &copy, &recovery, &fresh)?;
    assert_eq!(recovered.keys(agreement)?.token("label", &[b"value"]), token);
    assert!(Keyring::open(elsewhere.path(), &node, &recovery.recipient()).is_err());

    opened.destroy_partition(agreement)?;
    for (path, identity) in [(home.path().join(KEYRING_FILE), &node), (copy, &recovery)] {
        let content = stored::read(&path, identity)?;
        assert_eq!(content.keys.into_keys().collect::<Vec<_>>(), [Partition::Own]);
        assert_eq!(content.erased.into_iter().collect::<Vec<_>>(), [agreement]);
    }
    assert!(matches!(opened.keys(agreement), Err(KeyringError::NoPartition(_))));
    assert!(matches!(opened.rotate(agreement), Err(KeyringError::NoPartition(_))));
    // Erased is for good: nothing is sealed under new keys as if nothing had been.
    assert!(matches!(opened.ensure_partition(agreement), Err(KeyringError::NoPartition(_))));
    let again = Keyring::open(home.path(), &node, &recovery.recipient())?;
    assert!(again.is_erased(agreement) && !again.is_erased(Partition::Own));
    Ok(())
}

#[test]
fn a_change_that_cannot_be_written_does_not_count() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let node = Identity::generate()?;
    let keyring = Keyring::create(home.path(), &node, &node.recipient())?;
    std::fs::remove_dir_all(home.path())?;
    assert!(keyring.ensure_partition(Partition::Own).is_err());
    assert!(!keyring.holds(Partition::Own));
    Ok(())
}

#[test]
fn a_flipped_bit_in_either_file_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let (node, recovery) = (Identity::generate()?, Identity::generate()?);
    Keyring::create(home.path(), &node, &recovery.recipient())?.ensure_partition(Partition::Own)?;
    for (name, identity) in [(KEYRING_FILE, &node), (KEYRING_RECOVERY_FILE, &recovery)] {
        let path = home.path().join(name);
        let whole = std::fs::read(&path)?;
        for at in 0..whole.len() {
            let mut harmed = whole.clone();
            harmed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &harmed)?;
            assert!(stored::read(&path, identity).is_err(), "{name}: byte {at} of {}", whole.len());
        }
        for len in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..len])?;
            assert!(stored::read(&path, identity).is_err(), "{name}: cut to {len} of {}", whole.len());
        }
        std::fs::write(&path, &whole)?;
        assert!(stored::read(&path, identity)?.keys.contains_key(&Partition::Own));
    }
    Ok(())
}

/// A power cut between the two files of a change leaves the copy one change ahead.
#[test]
fn a_cut_between_the_two_files_is_made_good_by_the_next_change() -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let (node, recovery) = (Identity::generate()?, Identity::generate()?);
    let (path, copy) = (home.path().join(KEYRING_FILE), home.path().join(KEYRING_RECOVERY_FILE));
    let [one, two] = [1, 2].map(|n| Partition::Agreement(AgreementId::from_bytes([n; 16])));
    let open = || Keyring::open(home.path(), &node, &recovery.recipient());
    let keyring = Keyring::create(home.path(), &node, &recovery.recipient())?;
    keyring.ensure_partition(one)?;
    let token = keyring.keys(one)?.token("label", &[b"value"]);
    for partition in [two, one] {
        let before = std::fs::read(&path)?;
        match partition == two {
            true => keyring.ensure_partition(two)?,
            false => open()?.destroy_partition(one)?,
        }
        std::fs::write(&path, &before)?;
        let after = open()?;
        assert!(after.holds(one) && after.keys(one)?.token("label", &[b"value"]) == token);
        match partition == two {
            true => after.ensure_partition(two)?,
            false => after.destroy_partition(one)?,
        }
        let partitions = after.partitions();
        assert_eq!(stored::read(&copy, &recovery)?.keys.into_keys().collect::<Vec<_>>(), partitions);
        assert_eq!(open()?.partitions(), partitions);
        for partition in partitions {
            let copied = Keyring::at(home.path(), &node, &recovery.recipient(), stored::read(&copy, &recovery)?);
            let [own, copied] = [&after, &copied].map(|k| k.keys(partition).map(|k| k.token("label", &[b"v"])));
            assert_eq!(own?, copied?);
        }
    }
    Ok(())
}

#[test]
fn parts_of_a_token_do_not_run_together() -> Result<(), RandomError> {
    let keys = PartitionKeys::generate()?;
    assert_ne!(keys.token("l", &[b"ab", b"c"]), keys.token("l", &[b"a", b"bc"]));
    assert_ne!(keys.token("l", &[b"ab"]), keys.token("la", &[b"b"]));
    Ok(())
}
