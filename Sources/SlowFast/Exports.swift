// The library's users import this module only. What it is made of lies in modules below, of which most is for this package alone: what is
// `public` there is this module's interface.
@_exported import Conversion
@_exported import Models
@_exported import Runtime

@_exported import struct Grammar.AnswerSchema
@_exported import enum ModelFile.ChunkCompression
@_exported import enum Quantization.QuantizationMethod
@_exported import enum Support.JSONError
@_exported import enum Support.JSONValue
@_exported import struct Support.SlowFastError
@_exported import enum Support.SlowFastVersion
@_exported import struct Tokenizer.Tokenizer
@_exported import class Video.DecoderProcesses
@_exported import struct Video.LiveSource
@_exported import struct Video.MediaInput
@_exported import struct Video.RGBImage
@_exported import struct Video.SamplingReport
@_exported import struct Video.SamplingRequest
@_exported import enum Video.SamplingRule
