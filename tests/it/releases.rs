//! Music goes in as it is and comes out as it went in; emails carry the tickets.

use serde_json::{Value, json};

use crate::{
    actors::{Festival, Promoter, key},
    house::House,
};

/// A second of a tone as WAV: small, and made without the house.
pub fn wav() -> Vec<u8> {
    let samples: Vec<u8> = (0..44_100_u32).flat_map(|i| (i16::try_from(i % 100 * 200).unwrap() - 10_000).to_le_bytes()).collect();
    let size = u32::try_from(samples.len()).unwrap();
    let mut out = b"RIFF".to_vec();
    out.extend((36 + size).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(44_100_u32.to_le_bytes());
    out.extend(88_200_u32.to_le_bytes());
    out.extend(b"\x02\0\x10\0data");
    out.extend(size.to_le_bytes());
    out.extend(samples);
    out
}

/// Uploads bytes in parts and completes them.
async fn upload(promoter: &Promoter, bytes: &[u8]) -> Value {
    let upload = promoter.make("/v1/uploads", json!({ "purpose": "audio", "bytes": bytes.len() })).await;
    let path = format!("/v1/uploads/{}", upload["upload_id"].as_str().unwrap());
    assert_eq!(promoter.send("POST", &format!("{path}/completions"), &json!({})).await.problem(), "conflict");
    for (i, part) in bytes.chunks(8 << 20).enumerate() {
        // The same part twice is one part.
        for _ in 0..2 {
            let put = promoter.request("PUT", &format!("{path}/parts/{}", i + 1)).header("content-type", "application/octet-stream").body(part.to_vec());
            assert_eq!(put.send().await.unwrap().status(), 200);
        }
    }
    promoter.send("POST", &format!("{path}/completions"), &json!({})).await.expect(200)
}

/// Makes an album of one track and an offer of a pass with it.
pub async fn bundle(festival: &Festival, pass: &str, capacity: i64) -> String {
    let uploaded = upload(&festival.promoter, &wav()).await;
    let recording = festival
        .promoter
        .make("/v1/recordings", json!({ "upload_id": uploaded["upload_id"], "title": "潮水退了", "artist": "林小野", "isrc": "NL-A1B-26-00001" }))
        .await;
    let terms = json!({ "title": "Harbour Tapes", "artist": "Night Ferry", "kind": "album", "language": "en", "about": {} });
    let release = festival.promoter.make("/v1/releases", json!({ "terms": terms, "recording_ids": [recording["recording_id"]] })).await;
    festival
        .offer_of(json!({
            "terms": { "name": { "en": "The weekend and the record", "zh": "通票加唱片" } }, "capacity": capacity,
            "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 14900, "currency": "EUR" } }],
            "components": [
                { "pass_id": pass, "weight": 133, "tax_kind": "fixed", "tax_ppm": 90000 },
                { "release_id": release["release_id"], "weight": 16, "tax_kind": "electronic_service", "tax_ppm": 210_000 }
            ]
        }))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_comes_out_as_its_master_went_in_and_in_ranges() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 2)]).await;
    assert!(fan.get("/albums").await.expect(200)["items"].as_array().unwrap().is_empty(), "nothing is heard before it is paid");
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let order = fan.get("").await.expect(200);
    let shares: Vec<i64> = order["lines"][0]["shares"].as_array().unwrap().iter().map(|s| s["minor"].as_i64().unwrap()).collect();
    assert_eq!(shares, [13_300, 1_600]);

    let albums = fan.get("/albums").await.expect(200);
    let track = albums["items"][0]["tracks"][0].clone();
    assert_eq!((&albums["items"][0]["copies"], &track["title"]), (&json!(2), &json!("潮水退了")));
    let (stream, download) = (track["stream_url"].as_str().unwrap(), track["download_url"].as_str().unwrap());
    let whole = house.anybody().request("GET", download).send().await.unwrap();
    let name = whole.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(name.starts_with("attachment; filename=\"01 ____.wav\"; filename*=UTF-8''01%20"), "{name}");
    assert_eq!(whole.headers()["content-type"], "audio/wav");
    let bytes = whole.bytes().await.unwrap();
    assert_eq!(data_encoding::HEXLOWER.encode(&gatefold::secrets::sha256(&bytes)), track["sha256"].as_str().unwrap());
    assert_eq!(bytes, wav());
    let part = house.anybody().request("GET", stream).header("range", "bytes=44-99").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()), (206, format!("bytes 44-99/{}", bytes.len()).as_str()));
    assert_eq!(part.bytes().await.unwrap(), bytes.slice(44..100));

    // A bent address and one that is over give nothing.
    let mut bent = stream.to_owned();
    bent.replace_range(20..21, if &stream[20..21] == "A" { "B" } else { "A" });
    assert_eq!(house.anybody().get(&bent).await.status, 404);
    house.advance(chrono::TimeDelta::minutes(11));
    assert_eq!(house.anybody().get(stream).await.status, 404);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sound_is_no_recording() {
    let house = House::open().await;
    let promoter = house.promoter("Night Ferry Foundation").await;
    for bad in [b"<svg onload=alert(1)>".repeat(50), wav()[..40].to_vec()] {
        let uploaded = upload(&promoter, &bad).await;
        let recording = json!({ "upload_id": uploaded["upload_id"], "title": "x", "artist": "y" });
        assert_eq!(promoter.send("POST", "/v1/recordings", &recording).await.problem(), "invalid");
    }
    house.close().await;
}
