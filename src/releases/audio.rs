//! Sound that people send us: believed only after it was decoded to its end (symphonia).

use std::io::Cursor;

use symphonia::core::{
    codecs::{CODEC_TYPE_AAC, CODEC_TYPE_FLAC, CODEC_TYPE_MP3, CODEC_TYPE_NULL, CODEC_TYPE_VORBIS, CodecType, DecoderOptions},
    errors::Error,
    formats::FormatOptions,
    io::MediaSourceStream,
    meta::MetadataOptions,
    probe::Hint,
};

/// What a master turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Its media type.
    pub media_type: &'static str,
    /// Its length in milliseconds.
    pub duration_ms: i32,
    /// Samples a second.
    pub sample_rate: i32,
    /// Channels.
    pub channels: i16,
}

/// Bytes that are no sound that we sell; the text is for their sender.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AudioError {
    /// Not a sound file that we read.
    #[error("not a FLAC, WAV, MP3, AAC or Ogg Vorbis file")]
    Unreadable,
    /// It breaks off or is damaged.
    #[error("the sound is damaged")]
    Damaged,
    /// Longer than six hours, or empty.
    #[error("the sound is empty or longer than six hours")]
    Length,
}

/// Decodes a sound file from its first to its last packet.
///
/// # Errors
/// [`AudioError`].
pub fn decode(bytes: Vec<u8>) -> Result<Sound, AudioError> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), symphonia::core::io::MediaSourceStreamOptions::default());
    let probed = symphonia::default::get_probe()
        .format(&Hint::new(), stream, &FormatOptions::default(), &MetadataOptions::default())
        .map_err(|_| AudioError::Unreadable)?;
    let mut format = probed.format;
    let track = format.tracks().iter().find(|t| t.codec_params.codec != CODEC_TYPE_NULL).ok_or(AudioError::Unreadable)?;
    let (id, codec, sample_rate) = (track.id, track.codec_params.codec, track.codec_params.sample_rate.ok_or(AudioError::Unreadable)?);
    let mut decoder = symphonia::default::get_codecs().make(&track.codec_params, &DecoderOptions { verify: true }).map_err(|_| AudioError::Unreadable)?;
    let (mut frames, mut channels) = (0_u64, 0_usize);
    loop {
        let packet = match format.next_packet() {
            Ok(packet) => packet,
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(_) => return Err(AudioError::Damaged),
        };
        if packet.track_id() != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(|_| AudioError::Damaged)?;
        frames += decoded.frames() as u64;
        channels = decoded.spec().channels.count();
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(AudioError::Damaged);
    }
    let duration_ms = frames * 1_000 / u64::from(sample_rate);
    if duration_ms == 0 || duration_ms > 6 * 3_600_000 {
        return Err(AudioError::Length);
    }
    Ok(Sound {
        media_type: media_type(codec),
        duration_ms: i32::try_from(duration_ms).map_err(|_| AudioError::Length)?,
        sample_rate: i32::try_from(sample_rate).map_err(|_| AudioError::Unreadable)?,
        channels: i16::try_from(channels).map_err(|_| AudioError::Unreadable)?,
    })
}

fn media_type(codec: CodecType) -> &'static str {
    match codec {
        CODEC_TYPE_FLAC => "audio/flac",
        CODEC_TYPE_MP3 => "audio/mpeg",
        CODEC_TYPE_AAC => "audio/mp4",
        CODEC_TYPE_VORBIS => "audio/ogg",
        _ => "audio/wav",
    }
}

/// The ending of a file of a media type.
#[must_use]
pub fn ending(media_type: &str) -> &'static str {
    match media_type {
        "audio/flac" => "flac",
        "audio/mpeg" => "mp3",
        "audio/mp4" => "m4a",
        "audio/ogg" => "ogg",
        _ => "wav",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sound_is_refused() {
        assert_eq!(decode(b"<html>not a song</html>".to_vec()), Err(AudioError::Unreadable));
        assert_eq!(decode(Vec::new()), Err(AudioError::Unreadable));
    }
}
