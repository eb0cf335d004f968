//! Songs that the program makes itself: plucked chords over a slow bass (Karplus and Strong, 1983), as FLAC. And the cover
//! of their album.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "samples and pixels: the numbers are small and the ear and the eye round"
)]

use anyhow::anyhow;
use flacenc::{bitsink::ByteSink, component::BitRepr, error::Verify, source::MemSource};

/// Samples a second.
const RATE: usize = 44_100;

/// A song: its title, its artist, its chords as semitones above A2, and how long a chord rings in milliseconds.
pub struct Song {
    /// The title, in its own script.
    pub title: &'static str,
    /// The artist.
    pub artist: &'static str,
    /// ISRC.
    pub isrc: &'static str,
    chords: &'static [[i32; 4]],
    beat_ms: usize,
}

/// The album.
pub static SONGS: [Song; 4] = [
    Song {
        title: "Last Ferry Out",
        artist: "Salt Radio",
        isrc: "NLGF12600001",
        chords: &[[0, 7, 12, 16], [5, 12, 17, 21], [9, 16, 21, 24], [7, 14, 19, 23]],
        beat_ms: 520,
    },
    Song {
        title: "潮水退了",
        artist: "林小野",
        isrc: "NLGF12600002",
        chords: &[[3, 10, 15, 19], [8, 15, 20, 24], [10, 17, 22, 26], [3, 10, 15, 22]],
        beat_ms: 640,
    },
    Song {
        title: "Signal, No Signal",
        artist: "Ines Okafor",
        isrc: "NLGF12600003",
        chords: &[[2, 9, 14, 17], [7, 14, 17, 22], [0, 7, 12, 16], [9, 16, 21, 24]],
        beat_ms: 430,
    },
    Song {
        title: "绿皮车厢",
        artist: "南方慢车",
        isrc: "NLGF12600004",
        chords: &[[5, 12, 17, 21], [3, 10, 15, 19], [0, 7, 12, 15], [7, 14, 19, 22]],
        beat_ms: 580,
    },
];

/// A plucked string: noise that runs around a loop of the length of its wave and loses its edge.
fn pluck(out: &mut [f32], from: usize, semitone: i32, length: usize, loudness: f32, seed: &mut u32) {
    let frequency = 110.0 * 2_f32.powf(semitone as f32 / 12.0);
    let mut string: Vec<f32> = (0..(RATE as f32 / frequency) as usize)
        .map(|_| {
            *seed ^= *seed << 13;
            *seed ^= *seed >> 17;
            *seed ^= *seed << 5;
            (*seed >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    let around = string.len();
    for i in 0..length.min(out.len().saturating_sub(from)) {
        let (here, next) = (i % around, (i + 1) % around);
        let sample = string[here];
        string[here] = (string[here] + string[next]) * 0.498;
        out[from + i] += sample * loudness;
    }
}

/// Plays a song as FLAC, 16 bit, stereo, about half a minute.
///
/// # Errors
/// When the encoder refuses, which it does not.
pub fn flac(song: &Song) -> anyhow::Result<Vec<u8>> {
    let beat = song.beat_ms * RATE / 1_000;
    let beats = 40;
    let frames = beat * (beats + 4);
    let (mut left, mut right) = (vec![0_f32; frames], vec![0_f32; frames]);
    let mut seed = 0x9e37_79b9 ^ u32::try_from(song.beat_ms).unwrap_or(1);
    for n in 0..beats {
        let chord = song.chords[n / 4 % song.chords.len()];
        let at = n * beat;
        if n % 4 == 0 {
            pluck(&mut left, at, chord[0] - 12, beat * 4, 0.42, &mut seed);
            pluck(&mut right, at, chord[0] - 12, beat * 4, 0.42, &mut seed);
        }
        let voice = chord[1 + n % 3];
        let (near, far) = if n % 2 == 0 { (&mut left, &mut right) } else { (&mut right, &mut left) };
        pluck(near, at, voice, beat * 3, 0.30, &mut seed);
        pluck(far, at + beat / 2, voice + 12, beat * 2, 0.12, &mut seed);
    }
    let mut samples: Vec<i32> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).map(|s| (s.clamp(-1.0, 1.0) * 26_000.0) as i32).collect();
    let config = flacenc::config::Encoder::default().into_verified().map_err(|(_, error)| anyhow!("{error}"))?;
    // Whole blocks: the encoder notes a shorter last one as the smallest, and readers then expect blocks of any size.
    samples.resize(samples.len().next_multiple_of(config.block_size * 2), 0);
    let source = MemSource::from_samples(&samples, 2, 16, RATE);
    let stream = flacenc::encode_with_fixed_block_size(&config, source, config.block_size).map_err(|error| anyhow!("{error}"))?;
    let mut sink = ByteSink::new();
    stream.write(&mut sink).map_err(|error| anyhow!("{error}"))?;
    Ok(sink.as_slice().to_vec())
}

/// The cover of the album as PNG: a record that sinks into water of its own grooves.
#[must_use]
pub fn cover() -> Vec<u8> {
    const SIDE: u32 = 900;
    let picture = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (dx, dy) = (x as f32 - 450.0, y as f32 - 430.0);
        let distance = dx.hypot(dy);
        let ink = [19, 19, 21];
        let spot = [255, 210, 31];
        let water = y > 560 && (y - 560) % 34 < 4 + (y - 560) / 14 && dx.abs() < 380.0 - (y - 560) as f32 * 0.7 + ((y / 34) % 3) as f32 * 30.0;
        let disc = y <= 560 && distance < 330.0 && distance > 96.0 && (!(distance as u32).is_multiple_of(9) || (distance as u32 / 9).is_multiple_of(7));
        image::Rgb(if water || disc || (y <= 560 && distance < 10.0) || (560..564).contains(&y) { ink } else { spot })
    });
    let mut out = std::io::Cursor::new(Vec::new());
    // Writing into memory does not fail.
    let _ = picture.write_to(&mut out, image::ImageFormat::Png);
    out.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{picture, releases};

    #[test]
    fn the_songs_of_the_demo_are_songs() {
        for song in &SONGS {
            let sound = releases::decode(flac(song).unwrap()).unwrap();
            assert_eq!((sound.media_type, sound.sample_rate, sound.channels), ("audio/flac", 44_100, 2));
            assert!(sound.duration_ms > 15_000, "{}", song.title);
        }
        assert!(picture::cleaned(&cover()).is_ok());
    }
}
