// What users of the library name: sources of frames, requests, reports, images.
@_exported import struct Architecture.ModelConfig
@_exported import struct Tokenizer.Tokenizer
@_exported import struct Video.RGBImage
@_exported import struct Video.SamplingReport
@_exported import struct Video.SamplingRequest
@_exported import struct Video.VisualSource
