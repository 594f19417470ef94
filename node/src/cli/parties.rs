//! Commands about who shares with whom: the own card, partners, agreements.

use crate::agreements;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `identity`.
#[derive(Debug, Subcommand)]
pub enum Identity {
    /// Name, id, addresses and the twelve words of the own card
    #[command(after_help = "Example:\n  entente identity show")]
    Show,
    /// The own card, to be sent to partners
    #[command(
        after_help = "The words are read out to the partner over the phone; they prove that the card was not changed on \
        its way. A card whose addresses or names the settings no longer say is made anew, with a higher number and other \
        words; partners who are connected get it by themselves.\n\nExample:\n  entente identity card -o field.card"
    )]
    Card {
        /// Write it to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take up a card of ours that partners know and this home does not: after a restore
    #[command(
        after_help = "A home that was put back from a backup does not know what was done to keys and contacts since. A \
        partner that meets it shows the newest card that it knows, and `entente status` says so; the partner's people can \
        also give it as a file (`entente partner card US -o FILE`). The next card then says what both say. A key that was \
        made after the backup is lost: put another in its place (`entente key rotate`).\n\n\
        Take up no card that you did not make: call your partners, for somebody else has your root key.\n\n\
        Example:\n  entente identity take-up --dry-run\n  entente identity take-up --card from-panel.card"
    )]
    TakeUp {
        /// The card, as a partner has it; the one that a partner showed, if absent
        #[arg(long, value_name = "FILE")]
        card: Option<PathBuf>,
        /// Say what the next card would say, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Take it up without asking
        #[arg(long)]
        yes: bool,
    },
    /// Renew the node's certificate now
    #[command(
        after_help = "A node does it by itself when less than 30 of its 90 days are left. Its key stays the same: partners \
        need no new card.\n\nExample:\n  entente identity renew"
    )]
    Renew,
    /// The people whom partners call, in the order of succession
    #[command(subcommand, after_help = "Example:\n  entente identity contact list")]
    Contact(super::Contact),
}

/// `partner`.
#[derive(Debug, Subcommand)]
pub enum Partner {
    /// Add a partner by its card, or take a newer card of one
    #[command(
        after_help = "Call the partner at a number you know, let it read out its twelve words, and compare. Nothing is \
        trusted before.\n\nExample:\n  entente partner add panel.card\n  \
        entente partner add panel.card --confirm \"word word word word word word word word word word word word\""
    )]
    Add {
        /// The card
        file: PathBuf,
        /// The twelve words as the partner read them out; without them, they are shown and asked about
        #[arg(long, value_name = "WORDS")]
        confirm: Option<String>,
    },
    /// Every partner
    #[command(after_help = "Example:\n  entente partner list --json")]
    List,
    /// One partner
    #[command(after_help = "Example:\n  entente partner show panel")]
    Show {
        /// Handle, id or its beginning
        partner: String,
    },
    /// The newest card of a partner, as it is known here
    #[command(after_help = "For a partner that lost it: `entente identity take-up`.\n\nExample:\n  \
        entente partner card panel -o panel.card")]
    Card {
        /// Handle, id or its beginning
        partner: String,
        /// Write it to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Release nothing more to a partner; recalls and receipts go on
    #[command(after_help = "Example:\n  entente partner suspend panel")]
    Suspend {
        /// Handle, id or its beginning
        partner: String,
    },
    /// Take up sharing again with a partner that was suspended
    #[command(after_help = "A partner that was removed needs its twelve words again: `entente partner add CARD`.\n\n\
        Example:\n  entente partner resume panel")]
    Resume {
        /// Handle, id or its beginning
        partner: String,
    },
    /// Judge again what a partner sent and what did not hold: a run that waits
    #[command(
        after_help = "`entente status` names the run, and the record in it. It is judged again in each session by itself; \
        this is for now, once the partner has mended it.\n\nExample:\n  entente partner retry panel"
    )]
    Retry {
        /// Handle, id or its beginning
        partner: String,
    },
    /// Close every connection with a partner; not even recalls reach it then
    #[command(
        after_help = "Only its twelve words bring it back: `entente partner add CARD`. To stop releases for a while, \
        `entente partner suspend` does.\n\nExample:\n  entente partner remove panel"
    )]
    Remove {
        /// Handle, id or its beginning
        partner: String,
        /// Remove it without asking
        #[arg(long)]
        yes: bool,
    },
}

/// What is asked, and how much of the answer is listed.
#[derive(Debug, Args)]
pub struct Shown {
    /// As if every record were reviewed and released, but for those that were refuted
    #[arg(long)]
    pub as_released: bool,
    /// Records to list for each party; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub list: usize,
}

/// `agreement`.
#[derive(Debug, Subcommand)]
pub enum Agreement {
    /// The usual cases, to begin with
    #[command(after_help = "Example:\n  entente agreement templates")]
    Templates,
    /// Draft an agreement from a template: a text to change, to look at and to sign
    #[command(after_help = "Nothing is signed, and nobody is told.\n\nExample:\n  \
        entente agreement new panel --with panel -o panel.toml\n  \
        entente agreement new host --with host --country TD -o host.toml\n  entente agreement simulate host.toml")]
    New {
        /// Name of the template: see `entente agreement templates`
        template: String,
        /// The partner, by its handle
        #[arg(long, value_name = "PARTNER")]
        with: String,
        /// The country that the template asks for, by its ISO 3166 code
        #[arg(long, value_name = "CC")]
        country: Option<String>,
        /// Where to write it
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Check an agreement file; nothing is kept
    #[command(after_help = "Example:\n  entente agreement check panel.toml")]
    Check {
        /// Text, or signed so far
        file: PathBuf,
    },
    /// What of our holdings would leave under an agreement: see it before you sign
    #[command(after_help = "Every record is asked about as if the agreement were in force. Records that nobody has \
        released stay, unless --as-released is given: before anything was reviewed and released, give it. Only what was imported \
        is asked about.\n\nExample:\n  entente agreement simulate panel.toml\n  \
        entente agreement simulate panel.toml --as-released --list 100")]
    Simulate {
        /// Text, signed so far, or the id of an agreement that is held (ID/VERSION for another than that in force)
        version: String,
        /// How it is asked and listed
        #[command(flatten)]
        shown: Shown,
    },
    /// Which records and fields a new version exposes, and which it takes back
    #[command(
        after_help = "A text without the old one's id is compared as if it took its place; signed, it would be another \
        agreement beside it. The answer says so, and what to write.\n\nExample:\n  entente agreement diff 3f9a01 panel-2.toml\n  \
        entente agreement diff 3f9a01 3f9a01/2"
    )]
    Diff {
        /// The version before: text, signed so far, or the id of an agreement that is held
        old: String,
        /// The version after: text, signed so far, or the id of an agreement that is held
        new: String,
        /// How it is asked and listed
        #[command(flatten)]
        shown: Shown,
    },
    /// Whether records, or a field of them, can leave under what is in force, for any record there may be
    #[command(
        after_help = "Proved is what no clause gives, or what a solver proves of the conditions and red lines. Else a record of \
        which it leaves is shown. Where no record is found and nothing proves that there is none, that is said to be no proof. \
        Where no agreement is in force it holds \
        emptily, which is said so. Exit code 6 unless it holds.\n\nThe solver is cvc5, 1.3 or later (Debian's is too old): put the program from \
        https://github.com/cvc5/cvc5/releases on the PATH, or name it as `solver` in entente.toml. It is given policies and no \
        record. AGREEMENTS.md, section 5, says what is proved.\n\nExample:\n  \
        entente agreement prove \"never event.documented-by\"\n  \
        entente agreement prove \"never item.serial to panel\"\n  \
        entente agreement prove 'never item when resource.serial_state == \"OBL\"'\n  \
        entente agreement prove \"red-line no natural persons\""
    )]
    Prove {
        /// never KIND.FIELD or never KIND, with `to PARTNER` and `when CONDITION` if you like; or red-line NAME
        property: String,
        /// How long a solver may take, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = agreements::PATIENCE_S,
            value_parser = clap::value_parser!(u64).range(1..=agreements::PATIENCE_S_MAX))]
        timeout: u64,
    },
    /// Sign an agreement: its exact text is shown first
    #[command(
        after_help = "Send the signed file to the other parties. The first-named party's signature is added last, by its \
        node, once the others have signed.\n\nExample:\n  entente agreement sign panel.toml -o panel.signed"
    )]
    Sign {
        /// Text, or signed so far
        file: PathBuf,
        /// Where to write the signed file [default: beside the file, ending in .signed]
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
        /// Sign without asking
        #[arg(long)]
        yes: bool,
    },
    /// Take a signed file from another party; this signs nothing
    #[command(after_help = "Example:\n  entente agreement add panel.signed")]
    Add {
        /// The signed file
        file: PathBuf,
    },
    /// Every agreement
    #[command(after_help = "Example:\n  entente agreement list")]
    List,
    /// One agreement: the text that people sign, and who has signed
    #[command(after_help = "Example:\n  entente agreement show 3f9a01")]
    Show {
        /// Id or its first six digits or more
        agreement: String,
    },
    /// Sign a proposal that a partner's node sent: its exact text is shown first
    #[command(after_help = "Example:\n  entente agreement accept 3f9a01")]
    Accept {
        /// Id or its first six digits or more
        agreement: String,
        /// Sign without asking
        #[arg(long)]
        yes: bool,
    },
    /// As one of the two persons without whom this organisation does not sign: approve a proposal
    #[command(
        after_help = "Where the agreement names signatories of ours, our node signs when both have approved: its exact text \
        is shown first.\n\nExample:\n  entente agreement approve 3f9a01 --by \"A. Diallo\""
    )]
    Approve {
        /// Id or its first six digits or more
        agreement: String,
        /// Who you are, as the agreement names you
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Approve without asking
        #[arg(long)]
        yes: bool,
    },
    /// Drop a proposal that nobody here wants; its sender is not told
    #[command(
        after_help = "What your organisation has signed cannot be dropped.\n\nExample:\n  entente agreement drop 3f9a01"
    )]
    Drop {
        /// Id or its first six digits or more
        agreement: String,
        /// Drop it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Stop releases under an agreement until it is resumed
    #[command(after_help = "Example:\n  entente agreement suspend 3f9a01")]
    Suspend {
        /// Id or its first six digits or more
        agreement: String,
    },
    /// Take up an agreement again
    #[command(after_help = "Example:\n  entente agreement resume 3f9a01")]
    Resume {
        /// Id or its first six digits or more
        agreement: String,
    },
    /// Make what was received under an agreement that is over unreadable, for good
    #[command(
        after_help = "Rows and files go, then the keys that opened them; whoever gave something gets a signed receipt. Backups of \
        the keyring that were made before can still open it: name those you know of with --copy, and destroy them. Records \
        under a legal hold keep it from being done.\n\nExample:\n  entente agreement erase 3f9a01 --by \"M. Osei\" \\\n      \
        --copy \"tape of 1 March, in the safe\""
    )]
    Erase {
        /// Id or its first six digits or more
        agreement: String,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
        /// A copy of the keyring that you know of
        #[arg(long = "copy", value_name = "TEXT")]
        copies: Vec<String>,
        /// Erase without asking
        #[arg(long)]
        yes: bool,
    },
    /// End an agreement, for good
    #[command(after_help = "Example:\n  entente agreement end 3f9a01")]
    End {
        /// Id or its first six digits or more
        agreement: String,
        /// End it without asking
        #[arg(long)]
        yes: bool,
    },
}
