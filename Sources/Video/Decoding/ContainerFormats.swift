import CLibAV

/// The formats that a clip may have: containers that hold their streams themselves, by libav's names.
///
/// Everything else is refused whatever its name says: lists that lead to other files or addresses (concat, SDP, HLS, DASH, IMF, numbered
/// pictures), devices, scripts, text.
enum ContainerFormats {
  private static let films =
    "3dostr,3g2,3gp,4xm,anm,apng,asf,asf_o,av1,avi,avs,avs2,avs3,bethsoftvid,bfi,bink,bmv,c93,cavsvideo,cdg,cdxl,cine,dfa,dhav,dirac,dnxhd,"
    + "dsicin,dv,dxa,ea,evc,film_cpk,filmstrip,fits,flic,flv,frm,fsb,gdv,gif,gxf,h261,h263,h264,hevc,hnm,idcin,iff,ifv,ingenient,ipmovie,ipu,iv8,ivf,"
    + "ivr,jv,kux,live_flv,lmlm4,luodat,lvf,lxf,m4v,matroska,mcc,mjpeg,mjpeg_2000,mj2,mlv,mm,mods,moflex,mov,mp4,mpeg,mpegts,mpegvideo,"
    + "mtv,mv,mvi,mxf,mxg,nsv,nut,nuv,obu,ogg,paf,pmp,pva,r3d,rl2,rm,roq,rpl,sdr2,ser,sga,siff,smjpeg,smk,smush,swf,thp,tmv,ty,vc1,"
    + "vc1test,vividas,vivo,vmd,vvc,wc3movie,webm,wsvqa,wtv,wv,xmv,yop,yuv4mpegpipe"
  /// One picture, or several one after the other.
  private static let pictures =
    "bmp_pipe,dds_pipe,dpx_pipe,exr_pipe,gem_pipe,gif_pipe,hdr_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_anim,jpegxl_pipe,pam_pipe,"
    + "pbm_pipe,pcx_pipe,pfm_pipe,pgm_pipe,pgmyuv_pipe,pgx_pipe,phm_pipe,photocd_pipe,pictor_pipe,png_pipe,ppm_pipe,psd_pipe,qdraw_pipe,"
    + "qoi_pipe,sgi_pipe,sunrast_pipe,tiff_pipe,webp_pipe,xbm_pipe,xpm_pipe,xwd_pipe"
  /// Without a film in them, which is then what is said of them.
  private static let sounds = "aac,ac3,aiff,amr,ape,au,caf,dts,eac3,flac,m4a,mp3,mpc,mpc8,tta,w64,wav"

  static let allowed = [films, pictures, sounds].joined(separator: ",")

  /// What is told of those that name other files.
  private static let lists = "concat,dash,hls,imf,rtp,rtsp,sdp,vobsub,webm_dash_manifest"

  /// Why the format is none for a clip; nil if it is one.
  static func objection(to format: UnsafePointer<AVInputFormat>) -> String? {
    guard let name = format.pointee.name else { return "a format without a name" }
    let comma = CChar(44)
    if av_match_list(name, allowed, comma) > 0 { return nil }
    let text = String(cString: name)
    return av_match_list(name, lists, comma) > 0
      ? "a list that leads to other files (\(text)); these are not opened" : "a file of the format \(text)"
  }
}
