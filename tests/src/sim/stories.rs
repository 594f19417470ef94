//! What the simulated world has found, each told step by step: what happened, and what both sides hold afterwards.
//!
//! The system tests run them. Each ends by healing everything and holding the stores against the model, as every
//! random run does.

use super::{Broken, Checked, Plan, cast::Cast, terms::Both, wire::Fate, world::World};
use entente_node::records::gate::Review;
use entente_protocol::{agreement::Standing, id::RecordId, recall::Act};

/// A story by its name.
pub type Story = (&'static str, fn(&mut World<'_>) -> Checked);

/// Every story.
pub const STORIES: &[Story] = &[
    ("an_amendment_released_before_its_record_names_it_later", amendment_first),
    ("a_superseded_record_is_not_released_again_by_a_review", review_of_the_superseded),
    ("what_was_refuted_on_its_way_is_withdrawn_where_it_was_held_before", refuted_on_its_way),
    ("a_run_that_meets_a_suspension_is_served_again_after_it", suspended_on_its_way),
    ("a_run_waits_until_the_partner_has_the_version", version_overtaken),
    ("two_drafts_of_one_version_settle_on_one", two_drafts),
    ("what_waits_for_a_partner_does_not_leave_once_it_is_suspended", partner_suspended),
    ("a_record_that_went_as_a_hash_is_not_named", named_while_closed),
    ("a_hold_on_what_came_under_two_agreements_is_lifted", held_twice),
    ("what_was_on_its_way_when_the_holder_ended_the_agreement_is_answered", ended_by_the_holder),
    ("what_was_on_its_way_when_its_sender_ended_the_agreement_is_answered", ended_by_the_sender),
];

/// Tells one story.
///
/// # Errors
/// The promise that it broke.
pub fn tell(cast: &Cast, story: &Story) -> Checked {
    let plan = Plan::default();
    let mut world = World::new(cast, &plan, 1)?;
    world.pairs = vec![(0, 1)];
    let told = (story.1)(&mut world).and_then(|()| {
        step(&mut world);
        world.heal()?;
        world.settle_all()?;
        world.ask_once_more()?;
        world.keep_up_at_last()?;
        world.check_end()
    });
    told.map_err(|broken| Broken(format!("{}: {}", story.0, broken.0)))
}

/// Time goes on.
fn step(world: &mut World<'_>) {
    world.step += 1;
    world.note_fit();
}

/// Two nodes that share under an agreement of these terms, and its place.
fn agreed(world: &mut World<'_>, both: Both) -> Checked<usize> {
    world.introduce(0, 1)?;
    let deal = world.new_deal(0, 1);
    world.propose_as(0, deal, both)?;
    world.connect(0, 1)?;
    world.flow(500)?;
    world.accept(1, deal)?;
    world.flow(500)?;
    Ok(deal)
}

fn pass(world: &mut World<'_>, record: RecordId) -> Checked {
    step(world);
    world.review(0, record, Review::Reviewed)?;
    world.release(0, record)
}

/// Terms in both directions under which amendments show what they amend (1), do not (0), or which let fewer go (3).
const SHOWS: Both = [1, 1];
const HIDES: Both = [0, 0];

/// People released the amendment first and the record it amends later: the amendment had gone without naming it,
/// and was never told again. Now it goes once more, with the reference.
fn amendment_first(world: &mut World<'_>) -> Checked {
    agreed(world, SHOWS)?;
    let record = world.commit(0, None)?;
    let amendment = world.commit(0, Some(record))?;
    pass(world, amendment)?;
    world.flow(500)?;
    pass(world, record)?;
    world.flow(500)
}

/// The partner may not see the amendment's reference, so the record was withdrawn. A later review of that record put
/// it into the release log again, and it was released again beside its successor.
fn review_of_the_superseded(world: &mut World<'_>) -> Checked {
    agreed(world, HIDES)?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    let amendment = world.commit(0, Some(record))?;
    pass(world, amendment)?;
    world.flow(500)?;
    step(world);
    world.review(0, record, Review::Verified)?;
    world.flow(500)
}

/// The partner held the record; a new version sent it again, the line was cut, and meanwhile it was refuted. The second
/// entry then went as its hash, its row was forgotten, and with it the withdrawal of the first.
fn refuted_on_its_way(world: &mut World<'_>) -> Checked {
    let deal = agreed(world, HIDES)?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    world.flow(500)?;
    world.propose_as(0, deal, SHOWS)?;
    world.flow(500)?;
    world.accept(1, deal)?;
    // Everything but the new run arrives.
    while let Some((id, wire)) = world.control_frame() {
        world.deliver(id, wire, Fate::Arrives)?;
    }
    world.cut((0, 1));
    step(world);
    world.review(0, record, Review::Refuted)
}

/// A run was under way when its receiver suspended the agreement: it was taken and its records refused, and nobody
/// sent them again when the agreement was resumed.
fn suspended_on_its_way(world: &mut World<'_>) -> Checked {
    let deal = agreed(world, HIDES)?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    world.stand(1, deal, Standing::Suspended)?;
    world.flow(500)?;
    world.stand(1, deal, Standing::Active)?;
    world.flow(500)
}

/// The first-named party holds a new version at once. Its runs overtook the version itself, and the receiver judged
/// them by the old one and refused what only the new one permits.
fn version_overtaken(world: &mut World<'_>) -> Checked {
    let deal = agreed(world, [4, 4])?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    world.flow(500)?;
    world.propose_as(0, deal, SHOWS)?;
    world.flow(500)?;
    world.accept(1, deal)?;
    while let Some((id, wire)) = world.records_frame() {
        world.deliver(id, wire, Fate::Arrives)?;
    }
    world.flow(500)
}

/// Both parties drafted the next version at once, and their nodes swapped the two drafts for ever.
fn two_drafts(world: &mut World<'_>) -> Checked {
    let deal = agreed(world, HIDES)?;
    world.cut((0, 1));
    world.propose_as(0, deal, SHOWS)?;
    world.propose_as(1, deal, [3, 3])?;
    world.connect(0, 1)?;
    world.flow(500)?;
    match world.control_frame() {
        Some(_) => world.broken("I3: two nodes swap drafts without end"),
        None => Ok(()),
    }
}

/// The line was full and a run waited in the session when the partner was suspended. It left all the same.
fn partner_suspended(world: &mut World<'_>) -> Checked {
    agreed(world, HIDES)?;
    world.stall(0)?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    step(world);
    world.partner(0, 1, Some(super::model::Estranged::Suspended))?;
    world.stall(0)?;
    world.flow(500)
}

/// An event was released, withdrawn before it left, and went as its hash; an item that names it went with the
/// reference to what the partner had never been given.
fn named_while_closed(world: &mut World<'_>) -> Checked {
    agreed(world, SHOWS)?;
    world.stall(0)?;
    let (event, item) = world.event_and_item(0)?;
    pass(world, event)?;
    pass(world, item)?;
    step(world);
    world.review(0, event, Review::Refuted)?;
    world.cut((0, 1));
    world.connect(0, 1)?;
    world.flow(500)
}

/// A run was lost on its way, the agreement was ended, and its record was asked back. The partner said each time that it
/// holds nothing, and was asked again for ever, because the run might still have come.
fn ended_on_its_way(world: &mut World<'_>, by: usize) -> Checked {
    let deal = agreed(world, HIDES)?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    world.cut((0, 1));
    world.stand(by, deal, Standing::Ended)?;
    step(world);
    world.recall_as(0, vec![record], Act::Erase)?;
    world.connect(0, 1)?;
    world.flow(500)
}

fn ended_by_the_holder(world: &mut World<'_>) -> Checked {
    ended_on_its_way(world, 1)
}

fn ended_by_the_sender(world: &mut World<'_>) -> Checked {
    ended_on_its_way(world, 0)
}

/// A record came under two agreements, was asked back, and a hold kept it: when the hold was lifted the node answered the
/// one recall twice in one notice, which no notice may, and the session ended over it.
fn held_twice(world: &mut World<'_>) -> Checked {
    agreed(world, SHOWS)?;
    let deal = world.new_deal(0, 1);
    world.propose_as(0, deal, HIDES)?;
    world.flow(500)?;
    world.accept(1, deal)?;
    world.flow(500)?;
    let record = world.commit(0, None)?;
    pass(world, record)?;
    world.flow(500)?;
    world.hold_as(1, record, true)?;
    world.recall_as(0, vec![record], Act::Erase)?;
    world.flow(500)?;
    world.hold_as(1, record, false)?;
    world.flow(500)
}
