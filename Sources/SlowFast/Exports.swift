// What users of the library name: sources of frames, requests, reports, images.
@_exported import struct Architecture.ModelConfig
@_exported import enum Architecture.SlowAttention
@_exported import struct Architecture.GenerationRecord
@_exported import struct Tokenizer.Tokenizer
@_exported import struct Video.RGBImage
@_exported import struct Video.SamplingReport
@_exported import struct Video.SamplingRequest
@_exported import struct Video.VisualSource
@_exported import struct Conversion.ConversionOptions
@_exported import struct Conversion.ConversionPlan
@_exported import struct Conversion.ConversionProgress
@_exported import struct Conversion.ConversionReport
@_exported import struct Conversion.CalibrationRecord
@_exported import struct Conversion.KeepRule
@_exported import enum Conversion.SizeTarget
@_exported import enum ModelFile.ChunkCompression
@_exported import enum Quantization.QuantizationMethod
