"""Writes ordinary mail with Python's email package, one message a line in base64."""
import base64, io, json, sys, zipfile, csv, struct, zlib, wave
from email import policy, encoders, charset as cs
from email.header import Header
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.mime.message import MIMEMessage

texts = {
  'es': ('Presupuesto año 2024', 'Hola Ana:\n\nAdjunto el presupuesto. ¿Lo ves bien?\n\nUn saludo\n-- \nIñaki\n', 'iso-8859-1'),
  'pt': ('Orçamento e ação', 'Olá,\n\nSegue em anexo a informação.\n\nAté já\n', 'iso-8859-15'),
  'ca': ('Reunió de l’equip', 'Bon dia,\n\nUs adjunto l’acta: col·laboració.\n', 'utf-8'),
  'eu': ('Bilera-akta', 'Egun on:\n\nHemen duzue akta.\nOndo izan\n', 'us-ascii'),
  'gl': ('Reunión de mañá', 'Bos días:\n\nVai a acta.\n', 'iso-8859-1'),
  'fr': ('Réunion de l’été', 'Bonjour,\n\nVeuillez trouver ci-joint le compte rendu.\n', 'windows-1252'),
  'de': ('Überweisung für März', 'Guten Tag,\n\nanbei die Rechnung über 12,50 €. Grüße\n', 'iso-8859-15'),
  'ru': ('Отчёт за май', 'Здравствуйте!\n\nОтчёт во вложении.\n', 'koi8-r'),
  'el': ('Έγγραφα', 'Καλημέρα,\n\nσας στέλνω τα έγγραφα.\n', 'iso-8859-7'),
  'he': ('דוח שנתי', 'שלום,\n\nמצורף הדוח.\n', 'iso-8859-8'),
  'ar': ('تقرير مالي', 'مرحبا،\n\nالتقرير مرفق.\n', 'windows-1256'),
  'zh': ('会议记录', '您好：\n\n附件是会议记录。\n', 'gb2312'),
  'tw': ('會議記錄', '您好：\n\n附件是會議記錄。\n', 'big5'),
  'ja': ('会議の議事録', 'お世話になります。\n\n議事録を送ります。\n', 'iso-2022-jp'),
  'ko': ('회의록', '안녕하세요.\n\n회의록을 보냅니다.\n', 'euc-kr'),
  'tr': ('Toplantı', 'Merhaba,\n\nTutanak ektedir. İyi günler\n', 'iso-8859-9'),
  'pl': ('Faktura za październik', 'Dzień dobry,\n\nprzesyłam fakturę.\n', 'iso-8859-2'),
}

def zipped(*members):
  b = io.BytesIO()
  with zipfile.ZipFile(b, 'w', zipfile.ZIP_DEFLATED) as z:
    for n, d in members:
      z.writestr(n, d)
  return b.getvalue()

def png():
  def chunk(t, d): return struct.pack('>I', len(d)) + t + d + struct.pack('>I', zlib.crc32(t + d))
  return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress((b'\0' + b'\x40\x80\xc0' * 8) * 8)) + chunk(b'IEND', b'')

def wav():
  b = io.BytesIO()
  w = wave.open(b, 'wb'); w.setnchannels(1); w.setsampwidth(2); w.setframerate(8000); w.writeframes(b'\0\1' * 4000); w.close()
  return b.getvalue()

ct = '<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/%s" ContentType="%s"/></Types>'
rel = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="%s"/></Relationships>'
docx = zipped(('[Content_Types].xml', ct % ('word/document.xml', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml')), ('_rels/.rels', rel % 'word/document.xml'), ('word/document.xml', '<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Hola</w:t></w:r></w:p></w:body></w:document>'))
xlsx = zipped(('[Content_Types].xml', ct % ('xl/workbook.xml', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml')), ('_rels/.rels', rel % 'xl/workbook.xml'), ('xl/workbook.xml', '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheets><sheet name="A" sheetId="1"/></sheets></workbook>'))
pptx = zipped(('[Content_Types].xml', ct % ('ppt/presentation.xml', 'application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml')), ('_rels/.rels', rel % 'ppt/presentation.xml'), ('ppt/presentation.xml', '<?xml version="1.0"?><p:presentation xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"/>'))
def odt():
  b = io.BytesIO()
  with zipfile.ZipFile(b, 'w') as z:
    z.writestr('mimetype', 'application/vnd.oasis.opendocument.text', zipfile.ZIP_STORED)
    z.writestr('content.xml', '<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"><office:body/></office:document-content>')
    z.writestr('META-INF/manifest.xml', '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>')
  return b.getvalue()
pdf = b'%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n'
ics = b'BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@x\r\nDTSTART:20240902T080000Z\r\nSUMMARY:Reuni\xc3\xb3n\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n'
files = [
  ('Acta Nº 3.pdf', 'application/pdf', pdf), ('informe.docx', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document', docx),
  ('cuentas 2024.xlsx', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', xlsx), ('charla.pptx', 'application/octet-stream', pptx), ('carta.odt', 'application/vnd.oasis.opendocument.text', odt()),
  ('foto.png', 'image/png', png()), ('foto.jpg', 'image/jpeg', b'\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00' + bytes(range(256)) * 4 + b'\xff\xd9'), ('voz.wav', 'audio/x-wav', wav()), ('canción.mp3', 'audio/mpeg', b'ID3\x03\x00\x00\x00\x00\x00\x0a' + b'\xff\xfb\x90\x00' + bytes(400)),
  ('datos.csv', 'text/csv', 'a;b;ñ\r\n1;2;3\r\n'.encode('latin-1')), ('datos.json', 'application/json', b'{"a": [1, 2, 3]}\n'), ('notas.txt', 'text/plain', 'una línea\notra\n'.encode()), ('cita.ics', 'text/calendar', ics),
  ('documentos.zip', 'application/zip', zipped(('a/acta.pdf', pdf), ('a/notas.txt', b'notas'), ('año.csv', b'a,b'))), ('fotos.zip', 'application/x-zip-compressed', zipped(*[('%d.jpg' % i, b'\xff\xd8\xff\xe0' + bytes(500)) for i in range(12)])),
  ('clave.asc', 'application/pgp-keys', b'-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF\n-----END PGP PUBLIC KEY BLOCK-----\n'), ('cambios.patch', 'text/x-patch', b'--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39\n'), ('logo.eps', 'application/postscript', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n'),
  ('plano.dwg', 'application/acad', b'AC1027\x00\x00\x00\x00' + bytes(300)), ('log.txt.gz', 'application/gzip', zlib.compress(b'x') and __import__('gzip').compress(b'a line of the log\n' * 50)), ('tarjeta.vcf', 'text/vcard', b'BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ana\r\nEND:VCARD\r\n'), ('factura.xml', 'application/xml', b'<?xml version="1.0" encoding="UTF-8"?>\n<Facturae><Total>12.50</Total></Facturae>\n'),
  ('gif.gif', 'image/gif', b'GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;'), ('Informe v1.2 (final).pdf', 'application/pdf', pdf), ('a.b.c.2024.09.01.pdf', 'application/pdf', pdf), ('Contrato S.L..pdf', 'application/pdf', pdf), ('ÁÉÍÓÚ ñandú.pdf', 'application/pdf', pdf),
]
out = []
def put(tag, m):
  out.append((tag, m if isinstance(m, bytes) else m.as_bytes()))

policies = [policy.SMTP, policy.SMTP.clone(max_line_length=200), policy.SMTPUTF8, policy.SMTP.clone(cte_type='7bit'), policy.default.clone(linesep='\r\n')]
k = 0
for lang, (subject, body, charset) in texts.items():
  for i, p in enumerate(policies):
    for kind in range(3):
      name, typ, data = files[k % len(files)]; k += 1
      m = EmailMessage(policy=p)
      m['From'] = 'Ana Núñez <ana@sender.example>'; m['To'] = 'b@our.example'; m['Subject'] = subject; m['Date'] = 'Mon, 2 Sep 2024 10:00:00 +0200'; m['Message-ID'] = '<%d@sender.example>' % k
      enc = [charset, 'utf-8'][kind % 2]
      try:
        body.encode(enc)
      except UnicodeEncodeError:
        enc = 'utf-8'
      m.set_content(body, charset=enc, cte=[None, 'base64', 'quoted-printable'][kind])
      if kind > 0:
        m.add_alternative('<html><head><style>p {color: #333}</style></head><body><p>' + body.replace('\n', '<br>') + '</p><img src="cid:logo"></body></html>', subtype='html')
        m.get_payload()[1].add_related(png(), 'image', 'png', cid='<logo>', filename='image001.png')
      main, sub = typ.split('/')
      m.add_attachment(data, maintype=main, subtype=sub, filename=name)
      put('python %s %d %d %s' % (lang, i, kind, name), m)
for lang, (subject, body, charset) in texts.items():
  try:
    body.encode(charset)
  except UnicodeEncodeError:
    charset = 'utf-8'
  m = MIMEMultipart()
  m['From'] = 'ana@sender.example'; m['To'] = 'b@our.example'; m['Subject'] = Header(subject, 'utf-8')
  m.attach(MIMEText(body, 'plain', charset))
  for how in range(3):
    a = MIMEApplication(pdf, 'pdf')
    if how == 0: a.add_header('Content-Disposition', 'attachment', filename=('utf-8', '', subject + '.pdf'))
    elif how == 1: a.add_header('Content-Disposition', 'attachment; filename="%s"' % Header(subject + '.pdf', 'utf-8').encode())
    else: a.add_header('Content-Disposition', 'attachment', filename='a.pdf'); a.set_param('name', 'a.pdf')
    m.attach(a)
  put('legacy ' + lang, m)
  f = MIMEMultipart(); f['From'] = 'ana@sender.example'; f['To'] = 'b@our.example'; f['Subject'] = 'Fwd: x'
  f.attach(MIMEText('see below\n')); f.attach(MIMEMessage(m)); put('forwarded ' + lang, f)
  raw = ('From: ana@sender.example\r\nTo: b@our.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s; format=flowed; delsp=yes\r\nContent-Transfer-Encoding: 8bit\r\n\r\n' % charset).encode() + body.replace('\n', ' \r\n').encode(charset)
  put('8bit ' + lang, raw)
for name, typ, data in files:
  m = MIMEBase(*typ.split('/')); m.set_payload(data); encoders.encode_base64(m)
  m['From'] = 'ana@sender.example'; m['To'] = 'b@our.example'; m['Subject'] = 'alone'; m.add_header('Content-Disposition', 'inline', filename=name)
  put('alone ' + name, m)
for tag, raw in out:
  print(json.dumps([tag, base64.b64encode(raw).decode()]))
