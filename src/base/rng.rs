//! Seeded random streams. Every random number of the engine comes from one counter-based generator, Threefry-2x32-20
//! (Salmon, Moraes, Dror, Shaw 2011), so that CPU and GPU draw the same integers and a run repeats bit for bit.

use rand::TryRng;

const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
const PARITY: u32 = 0x1BD1_1BDA;

/// Threefry-2x32 with 20 rounds: two random words for a key and a counter. `shaders/lib/threefry.wgsl` is its twin.
pub fn threefry2x32(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let ks = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(ks[0]), counter[1].wrapping_add(ks[1])];
    for round in 0..20 {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left(ROTATIONS[round % 8]) ^ x[0];
        if round % 4 == 3 {
            let s = round / 4 + 1;
            x[0] = x[0].wrapping_add(ks[s % 3]);
            x[1] = x[1].wrapping_add(ks[(s + 1) % 3]).wrapping_add(s as u32);
        }
    }
    x
}

/// What a stream of random numbers is for. Streams of different purpose never share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamId {
    /// Initial values of the parameter tensor with this index.
    Init(u32),
    /// The permutation of the training examples in this epoch.
    Shuffle(u32),
    /// The division of the data into training and validation part.
    Split,
    /// Synthetic data; the number tells parts of one source apart.
    Data(u32),
    /// Dropout masks of the dropout layer with this index.
    Dropout(u32),
    /// Choices of a study or a check, such as the partial derivatives that are sampled.
    Sample(u32),
}

impl StreamId {
    fn words(self) -> [u32; 2] {
        match self {
            Self::Init(i) => [1, i],
            Self::Shuffle(i) => [2, i],
            Self::Split => [3, 0],
            Self::Data(i) => [4, i],
            Self::Dropout(i) => [5, i],
            Self::Sample(i) => [6, i],
        }
    }
}

/// A sequential stream of random numbers: the key says which, the counter how far.
///
/// It implements the traits of `rand`, so every distribution of that crate can draw from it.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: u64,
    spare: Option<u32>,
}

impl Stream {
    /// The stream of `seed` for one purpose.
    pub fn new(seed: u64, id: StreamId) -> Self {
        Self { key: Self::key(seed, id), counter: 0, spare: None }
    }

    /// The key of that stream, for counter-based use on a device.
    pub fn key(seed: u64, id: StreamId) -> [u32; 2] {
        threefry2x32([seed as u32, (seed >> 32) as u32], id.words())
    }

    /// The next 32 random bits.
    pub fn next_word(&mut self) -> u32 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        let words = threefry2x32(self.key, [self.counter as u32, (self.counter >> 32) as u32]);
        self.counter += 1;
        self.spare = Some(words[1]);
        words[0]
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let (low, high) = (u64::from(self.next_word()), u64::from(self.next_word()));
        unit_f64(high << 32 | low)
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Uniform in 0..n without bias (Lemire 2019). `n` must not be zero.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "a choice among nothing");
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_word()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }
}

impl TryRng for Stream {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.next_word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let (low, high) = (u64::from(self.next_word()), u64::from(self.next_word()));
        Ok(high << 32 | low)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.next_word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A random permutation of 0..n (Fisher and Yates), our own so that no other crate's version can change it.
pub fn permutation(n: usize, stream: &mut Stream) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(n).expect("fewer than 2³² examples")).collect();
    shuffle(&mut order, stream);
    order
}

/// Shuffles in place: what [`permutation`] does to 0..n, for a buffer that is used again.
///
/// # Panics
/// With 2³² or more elements.
pub fn shuffle(order: &mut [u32], stream: &mut Stream) {
    assert!(u32::try_from(order.len()).is_ok(), "fewer than 2³² elements");
    for i in (1..order.len()).rev() {
        order.swap(i, stream.below(i as u32 + 1) as usize);
    }
}

/// 24 of the 32 random bits as a number in [0, 1): the same in WGSL, exactly.
#[inline(always)]
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// 53 of the 64 random bits as a number in [0, 1).
#[inline(always)]
pub fn unit_f64(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123's kat_vectors for threefry2x32, 20 rounds.
    #[test]
    fn threefry_gives_the_published_answers() {
        assert_eq!(threefry2x32([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry2x32([u32::MAX; 2], [u32::MAX; 2]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(threefry2x32([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xc492_3a9c, 0x483d_f7a0]);
    }

    #[test]
    fn a_permutation_holds_every_index_once_and_depends_on_the_stream() {
        let draw = |seed| permutation(1000, &mut Stream::new(seed, StreamId::Shuffle(0)));
        let mut sorted = draw(7);
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let mut stream = Stream::new(1, StreamId::Data(0));
        let n = 200_000;
        let (mut sum, mut squares, mut fourths) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = stream.normal();
            sum += x;
            squares += x * x;
            fourths += x * x * x * x;
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.01 && (squares / n - 1.0).abs() < 0.02 && (fourths / n - 3.0).abs() < 0.1);
    }
}
