//! Audio is processed without allocating.

use trunkline_dsp::g711::Law;
use trunkline_dsp::gain::{Ducker, Gain, cross_fade, mix};
use trunkline_dsp::{ComfortNoise, DualTone, Plc, Resampler, Sine, Vad, VadConfig, l16, level};
use trunkline_testalloc::{CountingAllocator, allocations_in};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_block_of_20_ms_passes_everything_without_allocating() {
    let mut resamplers: Vec<Resampler> =
        [(8000, 16_000), (16_000, 8000), (8000, 24_000), (24_000, 8000), (16_000, 24_000), (24_000, 16_000)]
            .map(|(from, to)| Resampler::new(from, to).expect("supported"))
            .to_vec();
    let mut plc = Plc::new(8000);
    let mut vad = Vad::new(VadConfig::telephone(8000));
    let mut gain = Gain::new(1.0);
    let mut ducker = Ducker::new(8000, 12.0);
    let mut noise = ComfortNoise::new(1, -40.0);
    let mut sine = Sine::new(8000, 440.0, -10.0);
    let mut digit = DualTone::dtmf(8000, '5', -10.0).expect("a digit");
    let mut loudest = f32::MIN;
    let ((), counted) = allocations_in(|| {
        for number in 0..100 {
            let mut block = [0; 160];
            let mut other = [0; 160];
            noise.fill(&mut block);
            sine.fill(&mut other);
            mix(&mut block, &other);
            digit.fill(&mut other);
            ducker.apply(&mut other, number % 20 < 10);
            cross_fade(&other, &mut block[..40]);
            gain.ramp(0.5, 200);
            gain.apply(&mut block);
            match number % 10 {
                7 | 8 => plc.conceal(&mut block),
                9 => plc.join(&mut block),
                _ => plc.good(&mut block),
            }
            vad.process(&block);
            loudest = loudest.max(level::rms_dbfs(&block));
            let mut bytes = [0; 320];
            for law in [Law::Mu, Law::A] {
                law.encode(&block, &mut bytes);
                law.decode(&bytes[..160], &mut block);
            }
            l16::encode(&block, &mut bytes);
            l16::decode(&bytes, &mut block);
            for resampler in &mut resamplers {
                let mut output = [0; 480];
                resampler.process(&block, &mut output);
            }
        }
    });
    assert_eq!(counted, 0);
    assert!(loudest > -30.0);
}
