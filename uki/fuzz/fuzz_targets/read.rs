//! Everything that can be asked of a file.
#![no_main]

libfuzzer_sys::fuzz_target!(|image: &[u8]| {
    let _ = uki::kernel_version(&image);
    let _ = uki::Device::from_json("f", image);
    let Ok(uki) = uki::Uki::parse(image) else { return };
    let _ = uki::lint(&uki);
    for section in uki.sections().iter().take(64) {
        assert!(uki.content(section).len() <= image.len());
        let _ = uki.kernel(section);
        let _ = uki::HardwareIds::parse(uki.content(section));
        let _ = uki::FirmwareBundle::parse(uki.content(section));
        let _ = uki::check_splash(uki.content(section));
    }
});
