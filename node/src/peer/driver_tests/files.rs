//! Files over real QUIC: fetched, resumed, refused, checked, recalled.

use super::*;

/// Keeps chunks in memory.
#[derive(Default)]
struct Kept(Vec<(u32, Vec<u8>)>);

impl Sink for Kept {
    fn chunk(&mut self, index: u32, bytes: &[u8]) -> io::Result<()> {
        self.0.push((index, bytes.to_vec()));
        Ok(())
    }
}

fn request(entry: u64, from_chunk: u32) -> Request {
    Request { feed: FeedId::from_bytes([1; 32]), slot: 9, entry, from_chunk }
}

#[tokio::test]
async fn files_are_fetched_resumed_refused_and_checked() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let mut far = node(&b, &[(a.id, a.partner())], |_| {});
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"here");
    far.next().await;
    let connection = near.peers.links.connection(b.id).ok_or("connected")?;

    let (kept, list) = fetch(&connection, request(3, 0), far.content, Kept::default()).await?;
    assert_eq!((list.content(), list.chunks()), (far.content, far.model.chunks.as_slice()));
    assert_eq!(kept.0.iter().map(|chunk| chunk.0).collect::<Vec<_>>(), [0, 1, 2]);
    let whole: Vec<u8> = kept.0.into_iter().flat_map(|chunk| chunk.1).collect();
    assert_eq!(whole, far.model.file);

    let (rest, _list) = fetch(&connection, request(3, 2), far.content, Kept::default()).await?;
    assert_eq!(rest.0, [(2, far.model.file[2 * limits::CHUNK_BYTES as usize..].to_vec())]);

    let refused = fetch(&connection, request(4, 0), far.content, Kept::default()).await;
    assert!(matches!(refused, Err(FetchError::Refused(code)) if code == RefusedCode::NotGiven as u16));

    // Another file than the record states.
    let other = Content { chunk_root: Hash::from_bytes([9; 32]), ..far.content };
    let wrong = fetch(&connection, request(3, 0), other, Kept::default()).await;
    assert!(matches!(wrong, Err(FetchError::Content(AttachmentFault::ChunkRoot))));
    near.stopped().await;
    far.stopped().await;
    Ok(())
}

/// Far more than QUIC takes before the other side has read some of it.
const LONG_CHUNKS: u32 = 40;

fn long_file() -> (Vec<u8>, Content, Vec<Hash>) {
    let file = vec![7; (limits::CHUNK_BYTES * LONG_CHUNKS) as usize];
    let mut manifest = ManifestBuilder::new();
    manifest.update(&file).unwrap();
    let manifest = manifest.finish();
    (file, manifest.content(), manifest.chunks)
}

/// Does something when the first chunk has come, and counts the others.
struct Acting<F>(Option<F>, Arc<AtomicU32>);

impl<F: FnOnce() + Send + 'static> Sink for Acting<F> {
    fn chunk(&mut self, _index: u32, _bytes: &[u8]) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::SeqCst);
        if let Some(act) = self.0.take() {
            act();
        }
        Ok(())
    }
}

/// A file is given, and taken back when its first chunk has come: what is under way ends, at the next chunk.
#[tokio::test]
async fn a_file_that_is_not_given_any_more_stops() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (file, content, chunks) = long_file();
    let mut far = node(&b, &[(a.id, a.partner())], |model| (model.file, model.chunks) = (file, chunks));
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"here");
    far.next().await;
    let connection = near.peers.links.connection(b.id).ok_or("connected")?;
    let (given, came) = (Arc::clone(&far.model.given), Arc::new(AtomicU32::new(0)));
    let act = move || {
        given.store(false, Ordering::SeqCst);
        // What has been sent already is on its way.
        std::thread::sleep(Duration::from_millis(300));
    };
    let cut = fetch(&connection, request(3, 0), content, Acting(Some(act), Arc::clone(&came))).await;
    assert!(matches!(cut, Err(FetchError::Lane(_))), "the file went on");
    assert!(came.load(Ordering::SeqCst) < LONG_CHUNKS, "all of it came");
    near.stopped().await;
    far.stopped().await;
    Ok(())
}

/// A suspension comes while a file waits for its reader. Nothing more of it arrives: the connection is cut, and made again.
#[tokio::test]
async fn a_recall_cuts_what_is_on_its_way() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (file, content, chunks) = long_file();
    let mut far = node(&b, &[(a.id, a.partner())], |model| (model.file, model.chunks) = (file, chunks));
    let mut near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"here");
    far.next().await;
    let connection = near.peers.links.connection(b.id).ok_or("connected")?;
    let (model, wakes, peer) = (Arc::clone(&far.model), far.wakes.clone(), a.id);
    let act = move || {
        // Until its windows are full the file still flows, and could push the word of the end out of a full socket.
        std::thread::sleep(Duration::from_millis(300));
        model.recalls.store(true, Ordering::SeqCst);
        wakes.wake(peer);
        std::thread::sleep(Duration::from_millis(300));
    };
    let came = Arc::new(AtomicU32::new(0));
    let cut = fetch(&connection, request(3, 0), content, Acting(Some(act), Arc::clone(&came))).await;
    assert!(matches!(cut, Err(FetchError::Lane(_))), "the file went on");
    assert_eq!(near.next().await, Happened::Ended(Ended::Closed { code: CloseCode::BUSY, by_peer: true }));
    near.stopped().await;
    far.stopped().await;
    Ok(())
}

/// The lanes are opened when the session before has ended. Until then, and until all is said, no file is asked for: its
/// stream would come too early, and end the session.
#[tokio::test]
async fn no_file_is_asked_for_before_the_session_is_open() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (opens, mut opened) = mpsc::unbounded_channel();
    let (go, wait) = std::sync::mpsc::channel();
    let mut far = node(&b, &[(a.id, a.partner())], |_| {});
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |model| model.gate = Some((opens, Mutex::new(wait))));
    timeout(PATIENCE, opened.recv()).await?.ok_or("the session begins")?;
    assert!(near.peers.links.connected(b.id));
    assert!(near.peers.links.connection(b.id).is_none(), "a file may be asked for before all is said");
    near.say(b.id, b"here");
    go.send(())?;
    assert_eq!(far.next().await, Happened::Notice(a.id, b"here".to_vec()));
    assert!(near.peers.links.connection(b.id).is_some());
    near.stopped().await;
    far.stopped().await;
    Ok(())
}

#[tokio::test]
async fn a_chunk_that_was_changed_is_not_kept() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    // The list is right, a byte of the second chunk is not.
    let mut far = node(&b, &[(a.id, a.partner())], |model| model.file[limits::CHUNK_BYTES as usize + 1] ^= 1);
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"here");
    far.next().await;
    let connection = near.peers.links.connection(b.id).ok_or("connected")?;
    let wrong = fetch(&connection, request(3, 0), far.content, Kept::default()).await;
    assert!(matches!(wrong, Err(FetchError::Content(AttachmentFault::Chunk { index: 1 }))));
    near.stopped().await;
    far.stopped().await;
    Ok(())
}

#[tokio::test]
async fn an_empty_file_is_a_file() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let manifest = ManifestBuilder::new().finish();
    let (content, chunks) = (manifest.content(), manifest.chunks);
    let empty = |model: &mut Model| (model.file, model.chunks) = (Vec::new(), chunks);
    let mut far = node(&b, &[(a.id, a.partner())], empty);
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"here");
    far.next().await;
    let connection = near.peers.links.connection(b.id).ok_or("connected")?;
    let (kept, _list) = fetch(&connection, request(3, 0), content, Kept::default()).await?;
    assert_eq!(kept.0, [(0, Vec::new())]);
    near.stopped().await;
    far.stopped().await;
    Ok(())
}
