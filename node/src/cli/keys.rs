//! Commands about keys over time, and about the people on the card.

use clap::{Args, Subcommand, ValueEnum};
use entente_protocol::identity::Purpose;

/// Which key is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The node's own key, by which connections are made.
    Node,
    /// Attests records.
    Records,
    /// Signs agreements.
    Agreements,
    /// Signs runs and receipts.
    Runs,
    /// The first user's: reviews and releases.
    Users,
    /// Signs the heads of our log.
    Log,
    /// Cosigns the heads of others' logs.
    Witness,
    /// Issues node certificates.
    Issuing,
    /// Signs cards.
    Root,
}

impl Which {
    /// As the card has it.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Node => Purpose::Node,
            Self::Records => Purpose::Records,
            Self::Agreements => Purpose::Agreements,
            Self::Runs => Purpose::Runs,
            Self::Users => Purpose::Users,
            Self::Log => Purpose::Log,
            Self::Witness => Purpose::Witness,
            Self::Issuing => Purpose::Issuing,
            Self::Root => Purpose::Root,
        }
    }
}

/// `key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Every key: for what, from when, until when, and where its private half lies
    #[command(
        after_help = "`from` is when the card listed it first. `turns` is when connections begin to use it, where partners are still \
        to learn of it: the node's key that waits, a root that has followed, and the issuing key's certificate under that root. \
        Until then the node's key, the issuing key and the root are rotated only with --now.\n\nExample:\n  entente key list\n  entente key list --json"
    )]
    List,
    /// Put a new key in the place of one
    #[command(
        after_help = "A card with the next number lists both keys; partners get it by themselves. What the old key signed \
        stays proved, and its private half is destroyed. The node's key and the root give way two weeks later, because \
        partners judge a connection by the card that they have; --now is for a key that must not be used any longer. \
        The root key signs cards: if it is kept elsewhere, bring it to keys/root.age first; to rotate it, bring \
        keys/root-next.age too.\n\n\
        Example:\n  entente key rotate runs --dry-run\n  entente key rotate runs"
    )]
    Rotate {
        /// Which key
        which: Which,
        /// Say what would change and who learns of it, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Without an overlap: who has not heard of the new key by then is cut off until it has the new card
        #[arg(long)]
        now: bool,
        /// Of the root: keys/root-next.age is lost for good, so another is drawn, and every partner compares words
        #[arg(long)]
        next_root_lost: bool,
        /// Rotate it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Say that a key is lost or in other hands; another takes its place
    #[command(
        after_help = "With --since, what the key signed from then on is suspect, here and at partners, unless something shows \
        that it is older: suspect records are marked and go to nobody until you have looked at them and attested them anew \
        (`entente key reattest`). Say the earliest time that you cannot rule out; it can be set earlier later, and never \
        taken back.\n\nExample:\n  entente key revoke 3f9a01c2 --reason \"laptop stolen\" --since 2026-11-20 --dry-run\n  \
        entente key revoke 3f9a01c2 --reason \"laptop stolen\" --since 2026-11-20"
    )]
    Revoke {
        /// Its id, or the first eight digits: see `entente key list`
        key: String,
        /// Why, in one line: it is written to the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Since when it may be in other hands: a day, or a time in UTC such as 2026-11-28T09:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Say what would change and what would be suspect, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Of the root: keys/root-next.age is lost for good, so another is drawn, and every partner compares words
        #[arg(long)]
        next_root_lost: bool,
        /// Revoke it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Attest anew records of ours that a lost key made suspect, once somebody has looked at them
    #[command(
        after_help = "`entente search --own` marks them: what was recorded since the key was lost, and what partners had not \
        countersigned before. Every suspect batch is signed again by the key of today, over the same records: ids and \
        evidence numbers stay. Partners get what they hold again, with the new proof.\n\nExample:\n  entente key reattest --by \"A. Diallo\" --dry-run\n  entente key reattest --by \"A. Diallo\""
    )]
    Reattest {
        /// Who has looked at them
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Say how many there are, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Attest them without asking
        #[arg(long)]
        yes: bool,
    },
}

/// `keyring`.
#[derive(Debug, Subcommand)]
pub enum Keyring {
    /// Give partitions new sealing keys, and seal rows and files anew
    #[command(
        after_help = "A partition is what is stored under keys of its own: our own holdings, each agreement, the node's \
        bookkeeping. Everything stays readable meanwhile. If this is stopped, a running node goes on by itself, and \
        `entente status` says how far it is. The old key is destroyed when nothing is sealed under it. Row keys and the names of \
        files stay. Both copies of the keyring are written anew: renew the copy of keys/keyring.recovery.age that you keep \
        elsewhere.\n\nExample:\n  entente keyring rotate --dry-run\n  entente keyring rotate --partition own"
    )]
    Rotate {
        /// `own`, `node`, an agreement's id or its beginning, or `all`
        #[arg(long, value_name = "P", default_value = "all")]
        partition: String,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Rotate them without asking
        #[arg(long)]
        yes: bool,
    },
}

/// A person on the card.
#[derive(Debug, Args)]
pub struct Person {
    /// Function, such as "head of section"
    #[arg(long)]
    pub role: String,
    /// E-mail address
    #[arg(long)]
    pub email: Option<String>,
    /// Telephone number
    #[arg(long)]
    pub phone: Option<String>,
}

/// `identity contact`.
#[derive(Debug, Subcommand)]
pub enum Contact {
    /// Everybody on the card, in the order in which partners call
    #[command(after_help = "Example:\n  entente identity contact list")]
    List,
    /// Put one more person on the card
    #[command(
        after_help = "Example:\n  entente identity contact add \"A. Diallo\" --role \"head of section\" --phone \"+221 30 000 00 00\""
    )]
    Add {
        /// Name
        name: String,
        /// What is said of the person
        #[command(flatten)]
        person: Person,
        /// Which place in the order, from 1; the last if absent
        #[arg(long, value_name = "N")]
        place: Option<usize>,
        /// Say what the card would list, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a person off the card
    #[command(after_help = "Example:\n  entente identity contact retire \"A. Diallo\"")]
    Retire {
        /// Name, as the card has it
        name: String,
        /// Say what the card would list, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Put a person in the place of another
    #[command(
        after_help = "The one who goes must stand on the card (`entente identity contact list`); the one who comes takes that place in the \
        order. The card that would be made is shown, and asked about.\n\nExample:\n  \
        entente identity contact succeed \"A. Diallo\" --to \"M. Osei\" --role \"head of section\" --dry-run\n  \
        entente identity contact succeed \"A. Diallo\" --to \"M. Osei\" --role \"head of section\""
    )]
    Succeed {
        /// Who goes: the name, as the card has it
        name: String,
        /// Who comes: the name
        #[arg(long, value_name = "NAME")]
        to: String,
        /// What is said of the person
        #[command(flatten)]
        person: Person,
        /// Say what the card would list, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Make the card without asking
        #[arg(long)]
        yes: bool,
    },
}
